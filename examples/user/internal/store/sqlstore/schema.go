package sqlstore

// Times are microseconds since 1970. Tables account and entry are create-only
// and travel by queue; password and profile hold changes only and are left to
// storage replication, or travel by queue as well: no row reaches a region by two ways.

var mariadbSchema = []string{
	`CREATE TABLE IF NOT EXISTS account (
		phone VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
		id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		name VARCHAR(128) CHARACTER SET utf8mb4 NOT NULL,
		verifier VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		created_at BIGINT NOT NULL) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS entry (
		id VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
		transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		phone VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		amount BIGINT NOT NULL,
		created_at BIGINT NOT NULL,
		KEY entry_phone (phone, amount)) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS transfer (
		payer VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		idempotency_key VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		payee VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		amount BIGINT NOT NULL,
		created_at BIGINT NOT NULL,
		PRIMARY KEY (payer, idempotency_key)) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS outbox (
		seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
		kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		record_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		value BLOB NOT NULL,
		claimer VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
		claimed_until BIGINT NOT NULL DEFAULT 0) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS quarantine (
		topic VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		part INT NOT NULL,
		record_offset BIGINT NOT NULL,
		reason VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
		value MEDIUMBLOB NOT NULL,
		PRIMARY KEY (topic, part, record_offset)) ENGINE=InnoDB`,
}

// mariadbChanges and embeddedChanges may be in a database of their own.
var mariadbChanges = []string{
	`CREATE TABLE IF NOT EXISTS password (
		phone VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
		verifier VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
		changed_at BIGINT NOT NULL) ENGINE=InnoDB`,
	`CREATE TABLE IF NOT EXISTS profile (
		phone VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
		name VARCHAR(128) CHARACTER SET utf8mb4 NOT NULL,
		about VARCHAR(1024) CHARACTER SET utf8mb4 NOT NULL,
		changed_at BIGINT NOT NULL) ENGINE=InnoDB`,
}

var embeddedChanges = []string{
	`CREATE TABLE IF NOT EXISTS password (
		phone TEXT NOT NULL PRIMARY KEY, verifier TEXT NOT NULL, changed_at INTEGER NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS profile (
		phone TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, about TEXT NOT NULL,
		changed_at INTEGER NOT NULL)`,
}

var embeddedSchema = []string{
	`CREATE TABLE IF NOT EXISTS account (
		phone TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL,
		verifier TEXT NOT NULL, created_at INTEGER NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS entry (
		id TEXT NOT NULL PRIMARY KEY, transfer_id TEXT NOT NULL, phone TEXT NOT NULL,
		amount INTEGER NOT NULL, created_at INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS entry_phone ON entry (phone, amount)`,
	`CREATE TABLE IF NOT EXISTS transfer (
		payer TEXT NOT NULL, idempotency_key TEXT NOT NULL, id TEXT NOT NULL, payee TEXT NOT NULL,
		amount INTEGER NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (payer, idempotency_key))`,
	`CREATE TABLE IF NOT EXISTS outbox (
		seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, record_key TEXT NOT NULL,
		value BLOB NOT NULL, claimer TEXT NOT NULL DEFAULT '', claimed_until INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE IF NOT EXISTS quarantine (
		topic TEXT NOT NULL, part INTEGER NOT NULL, record_offset INTEGER NOT NULL,
		reason TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (topic, part, record_offset))`,
	`CREATE TABLE IF NOT EXISTS session (
		token_hash BLOB NOT NULL PRIMARY KEY, phone TEXT NOT NULL, account_id TEXT NOT NULL,
		expires_at INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS session_expires_at ON session (expires_at)`,
}
