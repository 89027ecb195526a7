// Package mirror is the built-in engine that copies topics from one region's
// Kafka (the source) to this region's (the target): record by record, same
// partition and key, into <origin>.<topic>.
//
// What it promises: at least once; the order of every partition, and so of
// every key; memory bounded whatever is down; nothing acknowledged at the
// source is skipped. A position is stored only when the target has
// acknowledged every record below it. A restart repeats at most what was
// acknowledged since the last stored position (a second's worth). When the
// target refuses a record (too large, its topic gone) the partition waits and
// says so; records behind it may have been written already, and all from the
// refused one on are written again in order, so that the newest record of a key
// always comes last.
//
// Positions are stored in the target, as offsets of the group
// "multiactive.mirror.<origin>": they live and die with the copy that they
// describe, they can be read when the source is gone (which is when one wants
// to know what was received), and the source needs to grant reading only.
//
// Provenance: every copy carries the headers ma-origin (the region where the
// record was written) and ma-id (<topic>/<partition>/<offset> there). A record
// whose ma-origin is not the source is never forwarded, and the topics are
// listed by their local names, so that nothing goes round in a mesh.
//
// It must never run twice for the same pair of regions at once: two copies
// would interleave, and a slow one would put older records after newer ones.
// Deploy it with one replica and the Recreate strategy.
package mirror
