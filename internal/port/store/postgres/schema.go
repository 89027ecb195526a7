package postgres

import (
	"crypto/sha256"
	"fmt"
)

// Guard is what an application's transaction asks before it writes: $1 is the service as <namespace>/<name>, $2 the slot of
// the user's key. It may go on when owner is its own region and leased is true; no row, or an owner of NULL,
// refuses. Until the transaction ends nobody takes the slot away; who takes it waits, and transactions that ask
// later wait behind.
//
// The lock is an advisory one (manual 13.3.5) and not a row's: shared locks of rows would be written to the
// row with every transaction, and a stream of them keeps whoever wants to change the row waiting for ever, as
// new ones do not queue behind it. In a transaction of isolation REPEATABLE READ or SERIALIZABLE, which may
// look at an old snapshot, the row is locked as well, and PostgreSQL refuses it (40001) when it has changed.
const Guard = `SELECT owner, epoch, leased FROM multiactive.fence_of($1, $2)`

// fenceBody is what Guard carries out.
const fenceBody = `
	DECLARE
		found_set integer;
	BEGIN
		SELECT s.slot_set INTO found_set FROM multiactive.fence_slot s WHERE s.service = $1 AND s.slot = $2;
		IF NOT FOUND THEN
			RETURN;
		END IF;
		PERFORM pg_advisory_xact_lock_shared(hashtextextended($1 || '/' || found_set::text, 4711));
		-- A snapshot of its own (READ COMMITTED): what was committed while the lock was waited for is seen. A slot
		-- that has moved to another set meanwhile is refused.
		IF current_setting('transaction_isolation') = 'read committed' THEN
			SELECT f.owner, f.epoch INTO owner, epoch FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set)
				WHERE s.service = $1 AND s.slot = $2 AND s.slot_set = found_set;
		ELSE
			SELECT f.owner, f.epoch INTO owner, epoch FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set)
				WHERE s.service = $1 AND s.slot = $2 AND s.slot_set = found_set FOR SHARE;
		END IF;
		leased := coalesce((SELECT l.valid_until > clock_timestamp() FROM multiactive.lease l WHERE l.region = owner), false);
	END
	`

// schemaStatements make the operator's own tables. The canary is published, and in meshes what was decided on late changes; whoever may log in may read the fences.
var schemaStatements = []string{
	`CREATE SCHEMA IF NOT EXISTS multiactive`,
	`CREATE TABLE IF NOT EXISTS multiactive.canary (
		region text NOT NULL, sequence bigint NOT NULL, nonce uuid NOT NULL DEFAULT gen_random_uuid(), written_at timestamptz NOT NULL,
		PRIMARY KEY (region, sequence, nonce))`,
	`CREATE TABLE IF NOT EXISTS multiactive.fence (
		service text NOT NULL, slot_set integer NOT NULL, owner text NOT NULL, epoch bigint NOT NULL,
		PRIMARY KEY (service, slot_set))`,
	`CREATE TABLE IF NOT EXISTS multiactive.fence_slot (
		service text NOT NULL, slot integer NOT NULL, slot_set integer NOT NULL,
		PRIMARY KEY (service, slot))`,
	`CREATE TABLE IF NOT EXISTS multiactive.lease (
		region text PRIMARY KEY, valid_until timestamptz NOT NULL)`,
	// What a person has seeded: the commands of a Bootstrap write it, and the link that is made deletes it.
	`CREATE TABLE IF NOT EXISTS multiactive.seeded (
		source text PRIMARY KEY, seeded_at timestamptz NOT NULL DEFAULT now())`,
	// Where links read from, for those who may not read the subscriptions' connection strings.
	`CREATE TABLE IF NOT EXISTS multiactive.link (
		subscription text PRIMARY KEY, region text NOT NULL, address text NOT NULL)`,
	// Up to where regions were applied whose links have been removed.
	`CREATE TABLE IF NOT EXISTS multiactive.applied (
		region text PRIMARY KEY, position pg_lsn NOT NULL)`,
	// Slots that a replica keeps for the others, for the time when it is the primary; see standby.go.
	`CREATE TABLE IF NOT EXISTS multiactive.standby (
		region text PRIMARY KEY, slot text NOT NULL, base jsonb)`,
	// What is known of outages, and what was taken back after this region's own; see settle.go.
	`CREATE TABLE IF NOT EXISTS multiactive.outage (
		region text PRIMARY KEY, id bigint NOT NULL, phase text NOT NULL, reached bigint NOT NULL, cut bigint NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS multiactive.late_change (
		region text NOT NULL, outage bigint NOT NULL, number bigint NOT NULL, table_name text NOT NULL, row_key text NOT NULL,
		id_row text NOT NULL, versions text[] NOT NULL, before_row text NOT NULL, after_row text NOT NULL, resend boolean NOT NULL, written_at timestamptz NOT NULL,
		written bigint NOT NULL DEFAULT 0, is_row text NOT NULL DEFAULT '', had jsonb, closed boolean NOT NULL DEFAULT false,
		PRIMARY KEY (region, outage, number))`,
	// What was decided, in all regions.
	`CREATE TABLE IF NOT EXISTS multiactive.conflict (
		region text NOT NULL, outage bigint NOT NULL, number bigint NOT NULL, table_name text NOT NULL, row_key text NOT NULL,
		policy text NOT NULL, outcome text NOT NULL, before_row text NOT NULL, late_row text NOT NULL, other_row text NOT NULL, note text NOT NULL,
		written_at timestamptz NOT NULL, written bigint NOT NULL, PRIMARY KEY (region, outage, number))`,
	`ALTER TABLE multiactive.conflict REPLICA IDENTITY FULL`,
	`CREATE OR REPLACE FUNCTION multiactive.fence_of(service text, slot integer, OUT owner text, OUT epoch bigint, OUT leased boolean)
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $fence$` + fenceBody + `$fence$`,
	// Other regions ask for positions as the user that servers replicate as, which may not read those of origins.
	`CREATE OR REPLACE FUNCTION multiactive.positions_of(region text, regions text[], links text[]) RETURNS TABLE (origin text, reached numeric)
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $positions$` + positionsSQL + `$positions$`,
	`GRANT USAGE ON SCHEMA multiactive TO PUBLIC`,
	`GRANT SELECT ON multiactive.fence, multiactive.fence_slot, multiactive.lease TO PUBLIC`,
	`GRANT EXECUTE ON FUNCTION multiactive.fence_of(text, integer) TO PUBLIC`,
}

// schemaComplete asks whether everything of the schema is there, and open to those who need it. Functions of another version of
// this operator, and of somebody else, are not.
var schemaComplete = `SELECT
	(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'multiactive' AND c.relkind = 'r'
		AND c.relname IN ('canary', 'fence', 'fence_slot', 'lease', 'seeded', 'link', 'applied', 'standby', 'outage', 'late_change')) = 10
	AND EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('multiactive.conflict') AND relkind = 'r' AND relreplident = 'f')
	AND ` + sameFunction("multiactive.fence_of(text,integer)", fenceBody) + `
	AND ` + sameFunction("multiactive.positions_of(text,text[],text[])", positionsSQL) + `
	AND coalesce((SELECT bool_or(a.grantee = 0 AND a.privilege_type = 'USAGE') FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'multiactive'), false)
	AND (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
		WHERE n.nspname = 'multiactive' AND c.relname IN ('fence', 'fence_slot', 'lease') AND a.grantee = 0 AND a.privilege_type = 'SELECT') = 3`

// sameFunction asks whether a function is there and has a body.
func sameFunction(signature, body string) string {
	sum := sha256.Sum256([]byte(body))
	return fmt.Sprintf("EXISTS (SELECT FROM pg_proc WHERE oid = to_regprocedure('%s') AND encode(sha256(convert_to(prosrc, 'UTF8')), 'hex') = '%x')", signature, sum)
}
