package main

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// This file uses go-plugin as its examples do, with one unary call per item. It is a peer, not a part of parhost.

var plainHandshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "PARHOST_BENCH_PLAIN", MagicCookieValue: "plain"}

const plainMethod = "/bench.Plain/Sqrt"

var plainService = grpc.ServiceDesc{
	ServiceName: "bench.Plain",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Sqrt",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var x wrapperspb.DoubleValue
			if err := decode(&x); err != nil {
				return nil, err
			}
			return wrapperspb.Double(math.Sqrt(x.GetValue())), nil
		},
	}},
}

type plainPlugin struct {
	plugin.NetRPCUnsupportedPlugin
}

var _ plugin.GRPCPlugin = (*plainPlugin)(nil)

// GRPCServer registers the service.
func (*plainPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&plainService, nil)
	return nil
}

// GRPCClient returns the connection itself.
func (*plainPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// servePlain serves a process that [startPlain] has started, and returns true when it ends. In any other process it returns false at once.
func servePlain() bool {
	if os.Getenv(plainHandshake.MagicCookieKey) != plainHandshake.MagicCookieValue {
		return false
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plainHandshake,
		Plugins:         plugin.PluginSet{"plain": &plainPlugin{}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
	return true
}

// startPlain starts one plugin process. It returns a function that runs one item there, and one that stops the process.
func startPlain() (call func(ctx context.Context, x float64) (float64, error), stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plainHandshake,
		Plugins:          plugin.PluginSet{"plain": &plainPlugin{}},
		Cmd:              exec.Command(self), // no context, because go-plugin stops the process itself, and gracefully
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	dispensed, err := protocol.Dispense("plain")
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	conn, ok := dispensed.(*grpc.ClientConn)
	if !ok {
		client.Kill()
		return nil, nil, errors.New("the plugin is no connection")
	}
	return func(ctx context.Context, x float64) (float64, error) {
		var root wrapperspb.DoubleValue
		err := conn.Invoke(ctx, plainMethod, wrapperspb.Double(x), &root)
		return root.GetValue(), err
	}, client.Kill, nil
}
