# syntax=docker/dockerfile:1

# Both can be replaced where no registry can be reached: BUILDER needs Go and a
# shell, BASE needs nothing at all (scratch).
ARG BUILDER=docker.io/library/golang:1.26
ARG BASE=gcr.io/distroless/static:nonroot

FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY api api
COPY certs certs
COPY cmd cmd
COPY internal internal
COPY reaper reaper
COPY webhook webhook
ARG VERSION=development
# No "go mod download": it would fetch the tests' modules too.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    CGO_ENABLED=0 GOMODCACHE=/go/pkg/mod GOCACHE=/go/cache \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./cmd/essential-containers

FROM ${BASE}
COPY --from=build /out/ /
USER 65532:65532
# Each Deployment names its own subcommand.
ENTRYPOINT ["/essential-containers"]
