// Package mysql operates MariaDB and MySQL servers for a DataStore: it observes them, sets replication
// links up, measures them with canaries, and keeps fences and leases. One Server speaks either dialect,
// by the version that the server tells.
//
// Everything that the operator writes but its canaries is written in sessions without a binary log, so it
// exists on one server alone. The package must never skip a transaction, reset a position, copy data, use
// filters such as DO_DOMAIN_IDS (with log_slave_updates they lose rows when a link restarts; tested with
// MariaDB 10.11), or let a password into an error.
package mysql
