// The program that makes the image's tarball without a container engine. A module of its own, so that
// none of it reaches the operator's dependency graph.
module multiactive.dev/operator/hack/tools/image

go 1.26.0

require github.com/google/go-containerregistry v0.22.1

require (
	github.com/klauspost/compress v1.19.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
)
