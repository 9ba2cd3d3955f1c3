# A small image of the one binary, run as nobody with a read-only root. The embedded ClickHouse is not in it: in
# containers ClickHouse is a service of its own.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /tillstream ./cmd/tillstream

FROM debian:12-slim
COPY --from=build /tillstream /tillstream
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
# A volume mounted here begins with this folder's owner: the registry's cache is all that is ever written.
RUN install -d -o nobody -g nogroup /state
USER nobody
EXPOSE 8080 9080
ENTRYPOINT ["/tillstream"]
CMD ["run", "--config", "/config"]
