package cluster

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Leader returns the name of the server that leads a stream.
func Leader(ctx context.Context, url, stream string) (string, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	for ctx.Err() == nil {
		if s, err := js.Stream(ctx, stream); err == nil && s.CachedInfo().Cluster.Leader != "" {
			return s.CachedInfo().Cluster.Leader, nil
		}
	}
	return "", context.Cause(ctx)
}

// MakeStream makes a stream.
func MakeStream(ctx context.Context, url string, cfg jetstream.StreamConfig) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, cfg)
	return err
}
