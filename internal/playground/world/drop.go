package world

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// filterTimeout bounds one change of the machine's packet filter, for which others may hold the lock.
const filterTimeout = 10 * time.Second

// filter is the program that changes the packet filter; empty when this user may not, or there is none.
var filter = sync.OnceValue(func() string {
	path, err := exec.LookPath("iptables")
	if err != nil || os.Geteuid() != 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), filterTimeout)
	defer cancel()
	if err := exec.CommandContext(ctx, path, "-w", "5", "-S", "INPUT").Run(); err != nil {
		return "" // root of a container, perhaps
	}
	return path
})

// Drops reports whether CutOff can drop packets, besides halting processes.
func Drops() bool { return filter() != "" }

// drop has the kernel drop every packet to an address of the network, of connections old and new, or ends that.
func (n network) drop(on bool) error {
	program := filter()
	if program == "" {
		return nil
	}
	action := "-D"
	if on {
		action = "-I"
	}
	ctx, cancel := context.WithTimeout(context.Background(), filterTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-w", "5", action, "INPUT", "-i", "lo", "-d", fmt.Sprintf("127.%d.0.0/16", n.number), "-j", "DROP")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// forgetDrops ends what a playground that crashed has left of this network in the packet filter.
func (n network) forgetDrops() {
	for filter() != "" {
		if err := n.drop(false); err != nil {
			return // there is none left
		}
	}
}
