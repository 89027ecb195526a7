package mysql

import (
	"context"
	"fmt"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// schema makes what the operator has for itself. Names of regions and services compare byte by byte.
//
// A canary is a row of its own, and old ones are deleted by each server by itself without a binary log:
// rows that were updated, or replaced, would stop every link whose server does not have the same row.
// written_at counts microseconds since 1970 by the clock of the writer, origin is what positions of its
// server are counted by. valid_until is UTC by the server's clock.
var schema = []string{
	"CREATE DATABASE IF NOT EXISTS " + store.Schema + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".canary (region VARCHAR(64) NOT NULL, sequence BIGINT NOT NULL, " +
		"written_at BIGINT NOT NULL, origin VARCHAR(64) NOT NULL, PRIMARY KEY (region, sequence)) " + tableOptions,
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".fence (service VARCHAR(317) NOT NULL, slot_set INT NOT NULL, " +
		"owner VARCHAR(64) NOT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (service, slot_set)) " + tableOptions,
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".fence_slot (service VARCHAR(317) NOT NULL, slot INT NOT NULL, " +
		"slot_set INT NOT NULL, PRIMARY KEY (service, slot)) " + tableOptions,
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".lease (region VARCHAR(64) NOT NULL, valid_until DATETIME(6) NOT NULL, " +
		"PRIMARY KEY (region)) " + tableOptions,
	// How far this server is with the newest outage of each region, and what that region withdrew.
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".outage (region VARCHAR(64) NOT NULL, id BIGINT NOT NULL, phase VARCHAR(16) NOT NULL, " +
		"reached BIGINT NOT NULL, cut VARCHAR(64) NOT NULL, PRIMARY KEY (region)) " + tableOptions,
	// Changes that are taken back and not decided on; rows are JSON objects, '' where there is none. written_at counts seconds.
	"CREATE TABLE IF NOT EXISTS " + store.Schema + ".late_change (region VARCHAR(64) NOT NULL, outage BIGINT NOT NULL, number INT NOT NULL, " +
		"table_name VARCHAR(320) NOT NULL, row_key TEXT NOT NULL, before_row LONGTEXT NOT NULL, after_row LONGTEXT NOT NULL, gtid VARCHAR(64) NOT NULL, " +
		"written_at BIGINT NOT NULL, PRIMARY KEY (region, outage, number)) " + tableOptions,
	// What was decided, in all regions: the only table besides canary that is replicated.
	"CREATE TABLE IF NOT EXISTS " + conflictTable + " (region VARCHAR(64) NOT NULL, outage BIGINT NOT NULL, number INT NOT NULL, " +
		"table_name VARCHAR(320) NOT NULL, row_key TEXT NOT NULL, policy VARCHAR(32) NOT NULL, outcome VARCHAR(32) NOT NULL, before_row LONGTEXT NOT NULL, " +
		"late_row LONGTEXT NOT NULL, other_row LONGTEXT NOT NULL, note TEXT NOT NULL, gtid VARCHAR(64) NOT NULL, written_at BIGINT NOT NULL, " +
		"PRIMARY KEY (region, outage, number)) " + tableOptions,
}

const tableOptions = "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

// tables of the schema, in ascending order.
var tables = []string{"canary", "conflict", "fence", "fence_slot", "late_change", "lease", "outage"}

// hasSchema tells whether all of the operator's tables are there.
func (s *Server) hasSchema(ctx context.Context) (bool, error) {
	var found int
	err := s.plain.row(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name IN ('"+
		strings.Join(tables, "', '")+"')", []any{store.Schema}, &found)
	return found == len(tables), err
}

// Prepare implements store.Server.
func (s *Server) Prepare(ctx context.Context, w storage.Want) error {
	spoken, version, err := s.ask(ctx)
	if err != nil {
		return err
	}
	if !spoken.supports(version) {
		return fmt.Errorf("preparing the server: it is %s, and %s or later is needed", version, spoken.oldest())
	}
	there, err := s.hasSchema(ctx)
	if err != nil {
		return s.explain(ctx, "looking for the operator's tables", err)
	}
	if !there {
		if err := s.makeSchema(ctx); err != nil {
			return err
		}
	}
	if err := s.grantToAll(ctx, version); err != nil {
		return err
	}
	if s.options.Replication.User == "" {
		return nil
	}
	return s.makeUser(ctx, spoken, w)
}

// guarding tables are what Guard reads.
var guarding = []string{"fence", "fence_slot", "lease"}

// grantToAll lets every user read what Guard reads, where the server can say so in one grant: MariaDB from
// 10.11 (manual, "GRANT", "TO PUBLIC"). Elsewhere an administrator grants it to the applications' users.
func (s *Server) grantToAll(ctx context.Context, version string) error {
	if _, ok := dialectOf(version).(mariaDB); !ok || !atLeast(version, 10, 11) {
		return nil
	}
	granted, err := grantsOf(ctx, s.plain, "FOR PUBLIC")
	if err != nil {
		return s.explain(ctx, "reading what all users may do", err)
	}
	for _, table := range guarding {
		if granted.has(tableIdentifier(store.Schema+"."+table), "SELECT") {
			continue
		}
		if _, err := s.local.exec(ctx, "GRANT SELECT ON "+store.Schema+"."+table+" TO PUBLIC"); err != nil {
			return s.explain(ctx, "letting all users read "+table, err)
		}
	}
	return nil
}

func (s *Server) makeSchema(ctx context.Context) error {
	for _, statement := range schema {
		if _, err := s.local.exec(ctx, statement); err != nil {
			return s.explain(ctx, "making the operator's tables", err)
		}
	}
	return nil
}
