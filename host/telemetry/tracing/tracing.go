// Package tracing writes what happens in a pool as spans of OpenTelemetry: one for the run, one for each batch, and one for items that took long or failed.
// They are exported by OTLP if the standard environment variables say where to.
package tracing

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	api "go.opentelemetry.io/otel/trace"

	"github.com/parhost/parhost/host"
)

// leastItem is the time from which the longest item of a batch has a span of its own.
const leastItem = time.Millisecond

// Tracer is an Observer that makes spans. Make one with [Open]. Its methods may be called from any goroutine; those of a nil Tracer do nothing.
type Tracer struct {
	provider *trace.TracerProvider
	exporter *otlptrace.Exporter
	tracer   api.Tracer

	root api.Span
	run  func() context.Context // returns the context of the run's span
}

var _ host.Observer = (*Tracer)(nil)

// Configured reports whether the environment says where traces go: by OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, and neither
// OTEL_SDK_DISABLED=true nor OTEL_TRACES_EXPORTER other than otlp.
func Configured() bool {
	exporter := cmp.Or(os.Getenv("OTEL_TRACES_EXPORTER"), "otlp")
	endpoint := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	return exporter == "otlp" && endpoint != "" && !strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true")
}

// Open begins the trace of a run of a workload with the given name. It returns nil if tracing is not [Configured]. The run's span is a child of the span in
// the environment variable TRACEPARENT, if there is one. All other variables are those of OpenTelemetry's specification: endpoint, headers, protocol, sampler,
// resource. An endpoint that cannot be reached is no error: lost is called with the first such error, and [Tracer.Close] may return another. OpenTelemetry has one
// handler of errors for the whole program, which Open sets.
func Open(ctx context.Context, name string, lost func(error)) (*Tracer, error) {
	if !Configured() {
		return nil, nil
	}
	var once sync.Once
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { once.Do(func() { lost(err) }) }))
	exporter, err := exporterOf(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("parhost")), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	t := begin(trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about)), name)
	t.exporter = exporter
	return t, nil
}

func exporterOf(ctx context.Context) (*otlptrace.Exporter, error) {
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	switch protocol {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "http/protobuf":
		return otlptracehttp.New(ctx)
	default:
		return nil, errors.New(`OTEL_EXPORTER_OTLP_PROTOCOL is "` + protocol + `", want grpc or http/protobuf`)
	}
}

// maxState is how long a tracestate may be, in bytes. A longer one may be dropped, says W3C Trace Context, section 3.3.1.5.
const maxState = 512

// carrier is the W3C Trace Context format.
var carrier propagation.TraceContext

// begin begins the run's span.
func begin(provider *trace.TracerProvider, name string) *Tracer {
	t := &Tracer{provider: provider, tracer: provider.Tracer("github.com/parhost/parhost")}
	state := os.Getenv("TRACESTATE")
	if len(state) > maxState {
		state = ""
	}
	parent := carrier.Extract(context.Background(), propagation.MapCarrier{"traceparent": os.Getenv("TRACEPARENT"), "tracestate": state})
	run, root := t.tracer.Start(parent, "run "+name)
	t.run, t.root = func() context.Context { return run }, root
	return t
}

// Context returns a context that carries the run's span to the workload, as the metadata traceparent and tracestate of the W3C, so that the workload can make
// spans below it: see sdk.Metadata.
func (t *Tracer) Context(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	span := propagation.MapCarrier{}
	carrier.Inject(t.run(), span)
	return host.WithMetadata(ctx, span)
}

// Observe implements [host.Observer].
func (t *Tracer) Observe(event host.Event) {
	if t == nil {
		return
	}
	switch e := event.(type) {
	case host.WorkerStarted:
		t.root.AddEvent("worker started", api.WithTimestamp(e.At), api.WithAttributes(workerOf(e.Worker, e.PID)...))
	case host.WorkerEnded:
		t.root.AddEvent("worker ended", api.WithTimestamp(e.At), api.WithAttributes(append(workerOf(e.Worker, e.PID), attribute.String("parhost.reason", e.Reason))...))
	case host.BatchDone:
		t.batchDone(&e)
	case host.ItemFailed:
		t.failed(e.At, &e.Attempt, false)
	case host.ItemRetried:
		t.failed(e.At, &e.Attempt, true)
	}
}

func workerOf(worker, pid int) []attribute.KeyValue {
	return []attribute.KeyValue{attribute.Int("parhost.worker", worker), semconv.ProcessPID(pid)}
}

func (t *Tracer) batchDone(e *host.BatchDone) {
	if e.Worker == 0 { // the items never reached one
		return
	}
	ctx, span := t.tracer.Start(t.run(), "batch", api.WithTimestamp(e.At.Add(-e.Trip)), api.WithAttributes(append(workerOf(e.Worker, e.PID),
		attribute.Int("parhost.first", e.First), attribute.Int("parhost.items", e.Items), attribute.Int("parhost.failed", e.Failed),
		attribute.Float64("parhost.wait_s", e.Wait.Seconds()), attribute.Float64("parhost.run_s", e.Run.Seconds()),
	)...))
	if took := e.Time(e.Longest); e.Timed() && took >= leastItem {
		begun := e.At.Add(-e.Run)
		for i := range e.Longest {
			begun = begun.Add(e.Time(i))
		}
		_, item := t.tracer.Start(ctx, "item", api.WithTimestamp(begun), api.WithAttributes(
			attribute.Int("parhost.item", e.Place(e.Longest)), attribute.String("parhost.text", e.LongestItem)))
		item.End(api.WithTimestamp(begun.Add(min(took, e.At.Sub(begun)))))
	}
	span.End(api.WithTimestamp(e.At))
}

// failed makes a span of a failed attempt.
func (t *Tracer) failed(at time.Time, a *host.Attempt, again bool) {
	_, span := t.tracer.Start(t.run(), "failed item", api.WithTimestamp(at.Add(-a.Took)), api.WithAttributes(
		attribute.Int("parhost.worker", a.Worker), attribute.Int("parhost.item", a.Place), attribute.String("parhost.text", a.Item),
		semconv.ErrorTypeKey.String(string(a.Err.Kind)), attribute.String("parhost.cause", string(a.Err.Cause)),
		attribute.Int("parhost.attempt", a.Err.Attempts), attribute.Bool("parhost.begun_again", again),
	))
	span.SetStatus(codes.Error, a.Err.Message)
	span.End(api.WithTimestamp(at))
}

// Close ends the run's span and exports what is left, until ctx ends. It returns the error of the export.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.root.End()
	err := t.provider.Shutdown(ctx)
	if err != nil { // an export that is under way goes on otherwise
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = t.exporter.Shutdown(over)
	}
	return err
}
