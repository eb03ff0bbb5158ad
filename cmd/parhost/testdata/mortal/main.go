// Command mortal is a plugin that writes a reason and exits. Its environment or its item says where and how.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/parhost/parhost/sdk"
)

func init() { dieAt("init") }

func main() {
	dieAt("main")
	sdk.Serve(sdk.Struct("mortal", func() sdk.Runner[string, string] { return mortal{} }))
}

// dieAt ends the process if the environment names this place in the program.
func dieAt(place string) {
	if os.Getenv("MORTAL") == place {
		log.Fatal("no model at ", place)
	}
}

type mortal struct{}

func (mortal) Setup(context.Context) error {
	dieAt("setup")
	return nil
}

func (mortal) Run(ctx context.Context, how string) (string, error) {
	switch how {
	case "log.Fatal":
		log.Fatal("no model at item")
	case "log.Fatalf, lines":
		log.Fatalf("no model:\n%v", "at\nitem")
	case "log.Print":
		log.Print("no model at item")
		os.Exit(1)
	case "log.Panic elsewhere":
		go log.Panic("no model at item")
		select {}
	case "log.Fatal elsewhere":
		go log.Fatal("no model at item")
		select {}
	case "log.Fatal after a flood":
		for i := range 200_000 {
			log.Print("line ", i)
		}
		log.Fatal("no model at item")
	case "own logger":
		log.New(os.Stderr, "mortal: ", log.LstdFlags).Fatal("no model at item")
	case "slog.Error":
		slog.Error("load", "err", errors.New("no model at item"))
		os.Exit(1)
	case "slog.ErrorContext":
		slog.ErrorContext(ctx, "load", "err", errors.New("no model at item"))
		os.Exit(1)
	case "sdk.Logger":
		sdk.Logger(ctx).Error("load", "err", errors.New("no model at item"))
		os.Exit(1)
	case "hclog":
		hclog.Default().Error("load", "err", "no model at item")
		os.Exit(1)
	case "stderr":
		_, _ = fmt.Fprintln(os.Stderr, "no model at item")
		os.Exit(1)
	case "stdout":
		fmt.Println("no model at item")
		os.Exit(1)
	case "panic, lines":
		go panic(errors.Join(errors.New("no model"), errors.New("SIGNED: at item")))
		select {}
	case "panic, many goroutines":
		for range 50 {
			go func() { select {} }()
		}
		go panic("no model\nSIGNED: at item")
		select {}
	case "panic":
		panic("no model\nat item")
	case "log":
		log.Print("a line of log")
		slog.Info("a line of slog")
		sdk.Logger(ctx).Info("a line of hclog")
	}
	return how, nil
}
