# One image for all of the operator's programs; a Deployment names the one that it runs.
#
#   docker build .
#       compiles in the image's own build stage
#   docker build --build-arg BINARIES=prebuilt .
#       takes bin/manager, bin/gateway, ... as `make build` left them: needs no other image at all
#   docker build --build-arg BASE=<image> .
#       puts them on a base image of yours
#
# BuildKit skips the stage that is not chosen.
ARG BASE=scratch
ARG BINARIES=build
ARG GO_IMAGE=golang:1.26

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
    done && mkdir -p /out/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch AS prebuilt
COPY bin/ /out/

FROM ${BINARIES} AS binaries

# Prebuilt on scratch has no certificates of public authorities: mount them where endpoints or probes
# use https with such a certificate.
FROM ${BASE}
COPY --from=binaries /out/ /
USER 65532:65532
ENTRYPOINT ["/manager"]
