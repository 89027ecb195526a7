// Command clock tells the time whenever it is asked for a line: what the wall clock shows, in seconds, and
// how long the program has run, in milliseconds.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := time.Now()
		_, _ = fmt.Println(now.Unix(), now.Sub(began).Milliseconds(), time.Since(began.Round(0)).Milliseconds()) //nolint:forbidigo // to whoever asks
	}
}
