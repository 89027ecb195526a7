// Package deferred keeps the books of requests that were accepted to be carried out later: what their
// log of events means, which request is next for each key, which have expired, and whom to tell. It is
// pure: events and the time come in, answers go out, and equal logs give equal books in every gateway.
//
// The rules, per request:
//   - It is accepted once: whoever accepts the same one again gets the first one.
//   - It is Pending until the first of Executed, Refused and Expired in the log; later ones do not count.
//   - Before it is sent to an application it is Begun, in the log. What was begun and not told to be Unsent
//     may have been carried out: it cannot expire as if nothing had happened.
//   - The requests of one key are in the order of the log; only the first that is pending may be begun.
//   - What became of it is kept for as long again as it might have been waited for.
//
// It must never forget a request that is pending, and never put two of one key in another order.
package deferred
