// Package command is what the mains of both programs have in common: flags,
// help, version, signals, logging, and one error at the end.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const profileFlag = "pprof-addr"

// Command is a program that runs until it is told to end.
type Command struct {
	Name    string
	Purpose string // one sentence, the beginning of the help
	Version string

	Bind     func(*flag.FlagSet)         // adds the program's own flags
	Validate func() error                // names the first flag whose value is wrong
	Run      func(context.Context) error // ends when its context does; has the logger there
}

// Main runs the command with the process's arguments and exits with 1 if it
// fails. SIGINT and SIGTERM end its context; a second signal ends the process.
func (c Command) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := c.Execute(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name, err)
		os.Exit(1)
	}
}

// Execute parses the arguments and runs the command, or prints what they ask
// for to stdout. Logs go to standard error.
func (c Command) Execute(ctx context.Context, args []string, stdout io.Writer) error {
	var logging zap.Options
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by Main, once
	flags.Usage = func() {}
	profiles := flags.String(profileFlag, "", "`address` on which Go's profiles are served below /debug/pprof/, over HTTP; empty: nowhere")
	showVersion := flags.Bool("version", false, "print the version and exit")
	c.Bind(flags)
	logging.BindFlags(flags)
	// By default an error is its message: where a library noticed it helps nobody at night.
	if err := flags.Set("zap-stacktrace-level", "panic"); err != nil {
		return err
	}

	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "%s\n\nUsage: %s [flags]\n\n", c.Purpose, c.Name)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *showVersion:
		_, err := fmt.Fprintln(stdout, c.Version)
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	logger := zap.New(zap.UseFlagOptions(&logging))
	log.SetLogger(logger) // for the libraries that do not take it from the context
	logger.Info("Starting", "program", c.Name, "version", c.Version)
	if *profiles != "" {
		server, err := serveProfiles(*profiles, logger)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }()
	}
	return c.Run(logr.NewContext(ctx, logger))
}
