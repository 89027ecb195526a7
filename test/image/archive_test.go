package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// image is one that was read from a file and unpacked.
type image struct {
	config   config
	platform string
	layers   int
	// files tells mode and owner of everything in the image, by path.
	files map[string]string
	// root is the directory that holds the files.
	root string
}

// config is what a container of the image is started with. The search path and labels, which builders
// add as they like, are left out.
type config struct {
	User         string
	Entrypoint   []string
	Cmd          []string
	WorkingDir   string
	Volumes      map[string]struct{}
	ExposedPorts map[string]struct{}
}

// read unpacks what `docker save` would write, and checks what its parts say about each other. It is
// written here, not imported, so that what writes the file is not what reads it.
func read(t *testing.T, archive string) image {
	t.Helper()
	var manifests []struct {
		Config string
		Layers []string
	}
	decode(t, member(t, archive, "manifest.json"), &manifests)
	if len(manifests) != 1 {
		t.Fatalf("%d images in %s, want one", len(manifests), archive)
	}
	var description struct {
		OS           string
		Architecture string
		Config       config
		RootFS       struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, member(t, archive, manifests[0].Config), &description)
	img := image{
		config:   description.Config,
		platform: description.OS + "/" + description.Architecture,
		layers:   len(manifests[0].Layers),
		files:    map[string]string{},
		root:     t.TempDir(),
	}
	// The image's user has to get in.
	if err := os.Chmod(img.root, 0o755); err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, name := range manifests[0].Layers {
		layer := member(t, archive, name)
		sum := sha256.Sum256(layer)
		sums = append(sums, "sha256:"+hex.EncodeToString(sum[:]))
		img.unpack(t, layer)
	}
	if got, want := fmt.Sprint(sums), fmt.Sprint(description.RootFS.DiffIDs); got != want {
		t.Errorf("the layers are %s, and the configuration says %s", got, want)
	}
	return img
}

// unpack adds a layer. Anything but files and directories is unexpected.
func (img image) unpack(t *testing.T, layer []byte) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(layer))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		mode := header.FileInfo().Mode()
		img.files[header.Name] = fmt.Sprintf("%s %d:%d", mode, header.Uid, header.Gid)
		if !filepath.IsLocal(header.Name) {
			t.Fatalf("the layer holds %s, which leads out of it", header.Name)
		}
		path := filepath.Join(img.root, header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, mode.Perm())
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, content, mode.Perm())
			}
		default:
			t.Errorf("the layer holds %s of type %c, want files and directories only", header.Name, header.Typeflag)
		}
		// Whatever the umask is here.
		if err := errors.Join(err, os.Chmod(path, mode.Perm())); err != nil {
			t.Fatal(err)
		}
	}
}

// member returns a file of an archive.
func member(t *testing.T, archive, name string) []byte {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return memberOf(t, f, archive, name)
}

// memberOf returns a file of an archive that is read from somewhere.
func memberOf(t *testing.T, from io.Reader, archive, name string) []byte {
	t.Helper()
	r := tar.NewReader(from)
	for {
		header, err := r.Next()
		if err != nil {
			t.Fatalf("looking for %s in %s: %v", name, archive, err)
		}
		if header.Name != name {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
}

func decode(t *testing.T, content []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}
