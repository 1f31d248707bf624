// Command webhook is the admission webhook of essential containers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/essential-containers/essential-containers/webhook"
)

const usage = `Webhook checks the essential-containers label of pods at admission and rejects pods in which it is wrong.

Usage: webhook [flags]

`

// version is set by the linker (-X main.version=v1.2.3).
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var (
		options     webhook.Options
		logging     zap.Options
		showVersion bool
	)
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by main, once
	flags.Usage = func() {}
	flags.BoolVar(&showVersion, "version", false, "print the version and exit")
	options.BindFlags(flags)
	logging.BindFlags(flags)

	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case showVersion:
		fmt.Fprintln(stdout, buildVersion())
		return nil
	}

	logger := zap.New(zap.UseFlagOptions(&logging))
	log.SetLogger(logger) // for the libraries that do not take it from the context
	logger.Info("Starting", "version", buildVersion())
	return webhook.Run(logr.NewContext(ctx, logger), options)
}

// buildVersion falls back on what the go command noted of the module.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		return info.Main.Version
	}
	return version
}
