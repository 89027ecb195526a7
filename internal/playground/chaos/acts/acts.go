// Package acts holds what users of the example did and were told, and what its regions have in the end. It knows the example's
// documents and nothing of the operator; package audit judges it.
package acts

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what a user did.
type Kind string

// The kinds.
const (
	Register Kind = "register"
	Login    Kind = "log in"
	// Save and Look are of the profile.
	Save     Kind = "edit the profile"
	Look     Kind = "read the profile"
	Password Kind = "change the password"
	Balance  Kind = "read the balance"
	Transfer Kind = "transfer"
	// Follow asks what became of a transfer that was accepted for later.
	Follow Kind = "follow a deferred transfer"
)

// Act is one request and what came of it.
type Act struct {
	Kind  Kind   `json:"kind"`
	Phone string `json:"phone"`
	// At is the region whose gateway was asked; Call and Return are true times.
	At     string        `json:"at"`
	Call   time.Duration `json:"call"`
	Return time.Duration `json:"return"`
	// Status is 0 without an answer; Code is the problem's code or the gateway's reason.
	Status int    `json:"status"`
	Code   string `json:"code,omitempty"`
	// Refused: a gateway refused it, and has sent it to no application.
	Refused bool `json:"refused,omitempty"`
	// N numbers the user's passwords, from 0, and the user's edits of the profile, from 1: which was sent, or seen. 0 is
	// the profile that nobody has edited.
	N int `json:"n,omitempty"`
	// Account is the ID that a registration was answered with.
	Account string `json:"account,omitempty"`
	// Payee, Amount and Once (the idempotency key) are of a transfer, Booked the ID that it was answered with, and
	// Deferred the ID of one that was accepted for later.
	Payee    string `json:"payee,omitempty"`
	Amount   int64  `json:"amount,omitempty"`
	Once     string `json:"once,omitempty"`
	Booked   string `json:"booked,omitempty"`
	Deferred string `json:"deferred,omitempty"`
	// State is what became of a deferred transfer.
	State string `json:"state,omitempty"`
	// Balance that was read.
	Balance int64 `json:"balance,omitempty"`
	// Stale: the answer says that it may be old.
	Stale bool `json:"stale,omitempty"`
}

// Acknowledged reports whether the user was told that it is done.
func (a *Act) Acknowledged() bool { return a.Status == 200 || a.Status == 201 || a.Status == 204 }

// Unknown reports whether it may have been done although nobody said so.
func (a *Act) Unknown() bool { return a.Status == 0 || a.Status >= 500 && !a.Refused }

// Concerns reports whether the act is about an account.
func (a *Act) Concerns(phone string) bool { return a.Phone == phone || a.Payee == phone }

// Told is the act as a person reads it, with times counted from a beginning.
func (a *Act) Told(from time.Duration) string {
	text := fmt.Sprintf("%7.2fs +%5.2fs %s at %s: %s", (a.Call - from).Seconds(), (a.Return - a.Call).Seconds(), a.Phone, a.At, a.Kind)
	switch a.Kind { //nolint:exhaustive // the others have nothing to add
	case Login, Save, Password:
		text += fmt.Sprintf(" (number %d)", a.N)
	case Look:
		if a.Acknowledged() {
			text += fmt.Sprintf(" (number %d%s)", a.N, map[bool]string{true: ", stale"}[a.Stale])
		}
	case Transfer:
		text += fmt.Sprintf(" of %d to %s, key %s", a.Amount, a.Payee, a.Once)
	case Balance:
		if a.Acknowledged() {
			text += fmt.Sprintf(" (%d)", a.Balance)
		}
	}
	words := []string{text, "->", fmt.Sprint(a.Status), a.Code, a.Account, a.Booked, a.Deferred, a.State}
	words = slices.DeleteFunc(words, func(word string) bool { return word == "" })
	return strings.TrimSpace(strings.Join(words, " "))
}

// Account is an account that a region has.
type Account struct{ Phone, ID string }

// Entry is a line of a region's ledger.
type Entry struct {
	ID, Transfer, Phone string
	Amount              int64
}

// Booking is a transfer that a region has booked itself.
type Booking struct {
	Payer, Once, ID, Payee string
	Amount                 int64
}

// Tables are what a region has.
type Tables struct {
	Accounts []Account
	// Profiles are the numbers of the edits, and Passwords when they were changed, by phone number.
	Profiles  map[string]int
	Passwords map[string]int64
	Entries   []Entry
	Bookings  []Booking
	// Unsent counts what waits to be told to other regions, and Aside what was kept aside as a contradiction.
	Unsent, Aside int
}

// History is what package audit judges.
type History struct {
	Acts []Act `json:"acts"`
	// Tables are what each region has in the end.
	Tables map[string]Tables `json:"tables"`
	// Opening is the balance of a new account, and Objective how old what is read may be.
	Opening   int64         `json:"opening"`
	Objective time.Duration `json:"objective"`
}
