package node

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Programs say what to execute for a container image: a program, or a directory that has the programs
// which the containers' commands name. The key is an image with its tag, or a repository for all tags.
type Programs map[string]string

// ParseProgram reads IMAGE=COMMAND, as the flag --program has it.
func ParseProgram(text string) (image, path string, err error) {
	image, path, found := strings.Cut(text, "=")
	if !found || image == "" || path == "" {
		return "", "", fmt.Errorf("%q is not IMAGE=COMMAND; give for example registry.example.com/shop:v1=bin/shop", text)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", "", fmt.Errorf("finding the program of image %s: %w", image, err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", "", fmt.Errorf("finding the program of image %s: %w; build it first", image, err)
	}
	return image, path, nil
}

// find returns the program for a container that has the image and, if any, the command.
func (p Programs) find(image string, command []string) (string, error) {
	path, known := p[image]
	if !known {
		path, known = p[repository(image)]
	}
	if !known {
		return "", fmt.Errorf("no program stands for image %q here: give --program %s=COMMAND (known: %s)",
			image, image, strings.Join(slices.Sorted(maps.Keys(p)), ", "))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("the program of image %q: %w", image, err)
	}
	if !info.IsDir() {
		return path, nil
	}
	if len(command) == 0 {
		return "", fmt.Errorf("image %q stands for the directory %s, and the container has no command that names a program in it", image, path)
	}
	path = filepath.Join(path, filepath.Base(command[0]))
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("command %s of image %q: %w; build it first", command[0], image, err)
	}
	return path, nil
}

// repository returns an image without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i]
	}
	return image
}

// Has reports whether a program stands for the image.
func (p Programs) Has(image string) bool {
	_, exact := p[image]
	_, anyTag := p[repository(image)]
	return exact || anyTag
}
