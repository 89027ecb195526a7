// Package change turns what the agents found out about regions, and what people ordered, into changes
// of owners: Closing first, Open when every region that loses slots is fenced and every region that
// gains some has caught up (R6 to R10, R12). It also says what a region must have applied before it may
// say so.
//
// It is pure: the leader carries a decision out as one transaction, which compares everything that the
// decision was taken from. It must never open slots on anything but an acknowledgement of the very
// epoch that is Closing, or a closed gate; and never take what one change closed for what another did.
package change
