# One image for all of the operator's programs; a Deployment names the one that it runs.
#
#   docker build .
#       compiles in the image's own build stage
#   docker build --target prebuilt .
#       takes bin/manager, bin/gateway, ... as `make build` left them: needs no other image at all
#   docker build --build-arg BASE=<image> .
#       puts them on a base image of yours
#
# A stage is named in plain words wherever another one uses it: some builders skip only what they see
# unused without looking at arguments' defaults.
ARG BASE=scratch
ARG GO_IMAGE=golang:1.26

# On scratch this one has no file of public authorities: the programs then take those that they were built with.
FROM ${BASE} AS prebuilt
COPY --chmod=0755 bin/ /
COPY --chmod=0644 bin/sbom.cdx.json /
USER 65532:65532
ENTRYPOINT ["/manager"]

FROM ${GO_IMAGE} AS build
ARG VERSION=dev
WORKDIR /src
# Modules first: they change less often than the code, so their layer is kept.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN mkdir /out && for program in manager gateway mirror kubectl-multiactive; do \
      if [ -d "cmd/$program" ]; then \
        CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o "/out/$program" "./cmd/$program" || exit 1; \
      fi; \
    done && go -C hack/tools/image run ./sbom /out/* >/out/sbom.cdx.json && \
    mkdir -p /out/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM ${BASE}
COPY --from=build /out/ /
USER 65532:65532
ENTRYPOINT ["/manager"]
