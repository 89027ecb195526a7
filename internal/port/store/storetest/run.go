package storetest

import "testing"

// Run tests an engine.
func Run(t *testing.T, w World) {
	t.Run("Prepare", w.testPrepare)
	t.Run("Findings", w.testFindings)
	t.Run("Links", w.testLinks)
	t.Run("Replica", w.testReplica)
	t.Run("Fences", w.testFences)
	t.Run("Guard", w.testGuard)
	t.Run("Pinned", w.testPinned)
	t.Run("Canaries", w.testCanaries)
	t.Run("Forgotten", w.testForgotten)
	t.Run("Positions", w.testPositions)
	t.Run("Crashes", w.testCrashes)
	t.Run("Pause", w.testPause)
	t.Run("Move", w.testMove)
	t.Run("Frozen", w.testFrozen)
	t.Run("Unreachable", w.testUnreachable)
	t.Run("Conflict", w.testConflict)
	t.Run("Purged", w.testPurged)
	t.Run("PurgedLater", w.testPurgedLater)
	t.Run("Credentials", w.testCredentials)
	t.Run("Rotation", w.testRotation)
	t.Run("Privileges", w.testPrivileges)
	t.Run("HandOver", w.testHandOver)
	t.Run("Errant", w.testErrant)
	t.Run("Digests", w.testDigests)
	t.Run("Compare", w.testCompare)
	t.Run("CompareGoesOn", w.testCompareGoesOn)
	t.Run("Writable", w.testWritable)
}
