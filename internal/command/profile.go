package command

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-logr/logr"
)

// profileTimeout bounds the reading of a request; a profile itself takes as long
// as was asked for.
const profileTimeout = 10 * time.Second

// serveProfiles serves Go's profiles below /debug/pprof/ on address until the
// server it returns is closed.
func serveProfiles(address string, logger logr.Logger) (io.Closer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on --%s %s: %w", profileFlag, address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: profileTimeout}
	logger.Info("Serving profiles", "address", listener.Addr().String())
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Serving profiles failed") // no reason to stop the work
		}
	}()
	return server, nil
}
