package command

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// freeAddress is an address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func TestProfilesAreServedWhileTheCommandRuns(t *testing.T) {
	address := freeAddress(t)
	err := execute(t.Context(), io.Discard, &testOptions{}, func(context.Context) error {
		for path, want := range map[string]string{
			"/debug/pprof/":                  "heap",
			"/debug/pprof/goroutine?debug=1": "goroutine profile: total",
			"/debug/pprof/cmdline":           "test",
		} {
			response, err := http.Get("http://" + address + path)
			if err != nil {
				return err
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("%s: %s, error %v, body %.200s", path, response.Status, err, body)
			}
			_ = response.Body.Close()
		}
		return nil
	}, "test", "--pprof-addr="+address)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("profiles are served after the command has ended")
	}
}

func TestAnAddressForProfilesThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = execute(t.Context(), io.Discard, &testOptions{}, func(context.Context) error {
		t.Error("the command runs")
		return nil
	}, "test", "--pprof-addr="+taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "listening on --pprof-addr") {
		t.Errorf("got error %v", err)
	}
}
