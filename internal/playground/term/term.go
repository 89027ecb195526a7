// Package term writes the playground's output: sections, steps with their durations, aligned columns.
// It is plain text when the output is no terminal, or without colour.
//
// It must never decide anything: it shows what it is told.
package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/utils/clock"
)

// Escape sequences of terminals.
const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// stepColumn is where the durations of steps begin.
const stepColumn = 62

// Console is the output. Its methods may be called from several goroutines; each writes whole lines.
type Console struct {
	out   io.Writer
	color bool
	clock clock.PassiveClock
	start time.Time

	mu sync.Mutex
}

// New returns a Console whose clock starts now. Colour is used when wanted and out is a terminal.
func New(out io.Writer, color bool, c clock.PassiveClock) *Console {
	return &Console{out: out, color: color && isTerminal(out) && os.Getenv("NO_COLOR") == "", clock: c, start: c.Now()}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Section begins a part of the output.
func (c *Console) Section(title string) {
	c.write(fmt.Sprintf("\n%s %s\n", c.paint(bold, title), c.paint(dim, "(+"+Seconds(c.clock.Since(c.start))+")")))
}

// Line writes one indented line.
func (c *Console) Line(format string, args ...any) {
	c.write("  " + fmt.Sprintf(format, args...) + "\n")
}

// Block writes text with every line indented, such as the output of a command.
func (c *Console) Block(text string) {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	c.write(out.String())
}

// Command shows a command as a person would type it.
func (c *Console) Command(line string) { c.write("  " + c.paint(bold, "$ "+line) + "\n") }

// Step begins a step; the function that it returns writes the outcome and how long it took.
func (c *Console) Step(what string) func(error) {
	began := c.clock.Now()
	return func(err error) {
		took := Seconds(c.clock.Since(began))
		if err != nil {
			c.write(fmt.Sprintf("  %s %s %s\n", c.paint(red, "✗"), pad(what, stepColumn), took))
			return
		}
		c.write(fmt.Sprintf("  %s %s %s\n", c.paint(green, "✓"), pad(what, stepColumn), c.paint(dim, took)))
	}
}

// Verdict writes one promise, what was measured, and whether it was kept.
func (c *Console) Verdict(ok bool, promise, measured string) {
	word, style := "PASS", green
	if !ok {
		word, style = "FAIL", red
	}
	c.write(fmt.Sprintf("  %s  %s %s\n", c.paint(style, word), pad(promise, stepColumn), measured))
}

// Note writes a line that asks for attention.
func (c *Console) Note(format string, args ...any) {
	c.write("  " + c.paint(yellow, "! ") + fmt.Sprintf(format, args...) + "\n")
}

// Table writes rows in aligned columns.
func (c *Console) Table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for i, cell := range row {
			cells = append(cells, pad(cell, widths[i]))
		}
		out.WriteString(strings.TrimRight("  "+strings.Join(cells, "  "), " ") + "\n")
	}
	c.write(out.String())
}

// Seconds writes a duration as people read it.
func Seconds(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Seconds(-d)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

func (c *Console) paint(style, text string) string {
	if !c.color {
		return text
	}
	return style + text + reset
}

func (c *Console) write(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.out, text) // nobody to tell
}

func pad(text string, to int) string {
	if missing := to - width(text); missing > 0 {
		return text + strings.Repeat(" ", missing)
	}
	return text
}

// width counts columns: Chinese characters take two.
func width(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && utf8.RuneLen(r) >= 3 && (r <= 0x115f || r >= 0x2e80 && r <= 0xffe6) {
			n++
		}
	}
	return n
}
