// Package cuts loses the packets from one part of a network to another, in one direction, at the router that joins
// the parts, while connections stay open and everything else gets through.
//
// It changes the routing of the network namespace that it is called in: call it in one of your own.
package cuts

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// priority of the rules: before that of any route.
const priority = 100

// Part is a part of the network, as the router sees it.
type Part struct {
	Name string
	// Link is the router's interface to it.
	Link string
	// Addresses behind it.
	Addresses *net.IPNet
}

// Cuts are those that there are. The zero value has none. Its methods may be called from several goroutines.
type Cuts struct {
	mu    sync.Mutex
	rules map[[2]string]*netlink.Rule
}

// Cut loses all packets that one part sends to another, until Heal.
func (c *Cuts) Cut(from, to Part) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	direction := [2]string{from.Name, to.Name}
	if c.rules[direction] != nil {
		return nil
	}
	rule := netlink.NewRule()
	rule.Family, rule.Type, rule.Priority = unix.AF_INET, unix.RTN_BLACKHOLE, priority
	rule.IifName, rule.Dst = from.Link, to.Addresses
	if err := netlink.RuleAdd(rule); err != nil {
		return fmt.Errorf("cutting %s from %s: %w", from.Name, to.Name, err)
	}
	if c.rules == nil {
		c.rules = map[[2]string]*netlink.Rule{}
	}
	c.rules[direction] = rule
	return nil
}

// Heal undoes Cut.
func (c *Cuts) Heal(from, to string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	direction := [2]string{from, to}
	rule := c.rules[direction]
	if rule == nil {
		return nil
	}
	if err := netlink.RuleDel(rule); err != nil {
		return fmt.Errorf("healing the way from %s to %s: %w", from, to, err)
	}
	delete(c.rules, direction)
	return nil
}

// Clear undoes all.
func (c *Cuts) Clear() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var failures []error
	for direction, rule := range c.rules {
		failures = append(failures, netlink.RuleDel(rule))
		delete(c.rules, direction)
	}
	return errors.Join(failures...)
}

// OnThread calls do on a thread that ends with it, whatever namespace do has entered.
func OnThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread must not serve others
		done <- do()
	}()
	return <-done
}
