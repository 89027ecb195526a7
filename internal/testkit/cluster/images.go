package cluster

import (
	"context"
	"fmt"
	"path/filepath"
)

// ctr runs containerd's client on the region's images.
func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	_, err := c.Command(ctx, "ctr", nil, append([]string{"--address=" + c.file("containerd.sock"), "--namespace=k8s.io"}, args...)...)
	return err
}

// Import gives the region's node the images of archives, such as `make image-tar` writes.
func (c *Cluster) Import(ctx context.Context, archives ...string) error {
	for _, archive := range archives {
		if err := c.ctr(ctx, "images", "import", archive); err != nil {
			return fmt.Errorf("importing %s: %w", filepath.Base(archive), err)
		}
	}
	return nil
}

// Tag gives an image of the node another name.
func (c *Cluster) Tag(ctx context.Context, image, name string) error {
	return c.ctr(ctx, "images", "tag", "--force", image, name)
}
