// Command sbom writes the bill of materials of programs, where an image is not made by image-tar:
//
//	go -C hack/tools/image run ./sbom PROGRAM... >sbom.cdx.json
package main

import (
	"errors"
	"fmt"
	"os"

	"multiactive.dev/operator/hack/tools/image/bill"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom: "+err.Error())
		os.Exit(1)
	}
}

func run(programs []string) error {
	if len(programs) == 0 {
		return errors.New("name the programs")
	}
	content, err := bill.Of(programs)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(content)
	return err
}
