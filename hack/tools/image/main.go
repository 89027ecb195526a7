// Command image-tar puts programs into a container image, as a file that docker, podman, kind and
// ctr load. It needs no container engine, no privileges and no network, and the same programs always
// make the same file. It never compiles anything: the programs are those that it is given.
//
//	image-tar --tag multiactive.dev/operator:dev --output bin/image.tar --entrypoint manager bin/manager bin/gateway
package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"multiactive.dev/operator/hack/tools/image/bill"
)

// created is the time of everything in the image, so that equal programs make equal images.
var created = time.Unix(0, 0).UTC()

// platform is what a program was compiled for.
type platform struct{ os, architecture string }

func main() {
	err := run(os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image-tar: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("image-tar", flag.ContinueOnError)
	tag := flags.String("tag", "", "`name:tag` of the image (required)")
	output := flags.String("output", "", "`file` to write (required)")
	entrypoint := flags.String("entrypoint", "", "the `program` that runs when a container names none (required)")
	path := flags.Bool("path", false, "have containers find the programs by their names alone")
	user := flags.String("user", "65532:65532", "`uid:gid` that a container runs as")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *tag == "" || *output == "" || *entrypoint == "" || flags.NArg() == 0 {
		return errors.New("--tag, --output, --entrypoint and programs are required")
	}
	isEntrypoint := func(program string) bool { return filepath.Base(program) == *entrypoint }
	if !slices.ContainsFunc(flags.Args(), isEntrypoint) {
		return fmt.Errorf("--entrypoint=%s is none of the programs", *entrypoint)
	}
	ref, err := name.NewTag(*tag)
	if err != nil {
		return fmt.Errorf("reading --tag: %w", err)
	}
	config := v1.Config{User: *user, Entrypoint: []string{"/" + *entrypoint}}
	if *path {
		config.Env = []string{"PATH=/"}
	}
	img, err := assemble(flags.Args(), config)
	if err != nil {
		return err
	}
	if err := write(*output, ref, img); err != nil {
		return fmt.Errorf("writing %s: %w", *output, err)
	}
	_, err = fmt.Fprintf(stdout, "%s holds %s\n", *output, ref)
	return err
}

// assemble makes an image of one layer, with the programs in its root directory.
func assemble(programs []string, config v1.Config) (v1.Image, error) {
	target, err := platformOf(programs)
	if err != nil {
		return nil, err
	}
	files, err := archive(programs)
	if err != nil {
		return nil, err
	}
	// Compressing takes longer than all the rest, and the file does not leave this machine.
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   static.NewLayer(files, types.DockerUncompressedLayer),
		History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "image-tar"},
	})
	if err != nil {
		return nil, fmt.Errorf("adding the layer: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = target.os, target.architecture
	file.Created = v1.Time{Time: created}
	file.Config = config
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return nil, fmt.Errorf("setting the image's configuration: %w", err)
	}
	return img, nil
}

// platformOf returns what the programs were compiled for, which must be the same for all.
func platformOf(programs []string) (platform, error) {
	var common platform
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return platform{}, fmt.Errorf("reading how %s was built: %w", program, err)
		}
		var own platform
		for _, setting := range info.Settings {
			switch setting.Key {
			case "GOOS":
				own.os = setting.Value
			case "GOARCH":
				own.architecture = setting.Value
			}
		}
		if common == (platform{}) {
			common = own
		}
		if own != common {
			return platform{}, fmt.Errorf("%s is for %s/%s, and those before it are for %s/%s: build them together",
				program, own.os, own.architecture, common.os, common.architecture)
		}
	}
	return common, nil
}

// archive returns a tar archive of the programs, which belong to root and can be run by anyone, and of the bill of
// what is in them.
func archive(programs []string) ([]byte, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, program := range programs {
		content, err := os.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("reading a program: %w", err)
		}
		if err := add(w, filepath.Base(program), 0o755, content); err != nil {
			return nil, err
		}
	}
	materials, err := bill.Of(programs)
	if err != nil {
		return nil, err
	}
	if err := add(w, bill.Name, 0o644, materials); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("ending the layer: %w", err)
	}
	return buffer.Bytes(), nil
}

func add(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), ModTime: created}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	if _, err := w.Write(content); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	return nil
}

// write leaves the old file until the new one is whole.
func write(path string, ref name.Tag, img v1.Image) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(tarball.Write(ref, img, f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
