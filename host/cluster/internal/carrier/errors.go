package carrier

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parhost/parhost/host/cluster/internal/engine"
)

// VersionError says that a server is too old.
type VersionError struct{ Version string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the server is nats-server %s, and %d.%d.%d is the oldest that will do", e.Version, LeastServer[0], LeastServer[1], LeastServer[2])
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// codeStoreFailed is the server's error code when a stream refuses a message, for want of room or because the subject has one. The library has no name for it.
const codeStoreFailed jetstream.ErrorCode = 10077

func apiError(err error) *jetstream.APIError {
	var js jetstream.JetStreamError
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &js):
		return js.APIError()
	default:
		return nil
	}
}

// isThere reports whether a stream has refused a message because its subject has one already.
func isThere(err error) bool {
	api := apiError(err)
	return api != nil && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "per subject")
}

// isFull reports whether a stream has refused a message because it holds as much as it may.
func isFull(err error) bool {
	api := apiError(err)
	return api != nil && api.ErrorCode == codeStoreFailed && strings.HasPrefix(api.Description, "maximum") && !isThere(err)
}

// transient reports whether a later try of the same may do better.
func transient(err error) bool {
	if missing := (*MissingError)(nil); errors.As(err, &missing) {
		return false
	}
	switch {
	case err == nil, errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrMaxPayload),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, engine.ErrRefused):
		return false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound),
		errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrJetStreamNotEnabled), isFull(err):
		return true
	}
	api := apiError(err)
	return api == nil || api.Code >= 500
}

// said makes an error match [engine.ErrRefused] if no other try can change it.
func said(err error) error {
	if err == nil || transient(err) || errors.Is(err, engine.ErrRefused) {
		return err
	}
	return fmt.Errorf("%w: %w", engine.ErrRefused, err)
}

// KeyError says that the file of a key cannot be used.
type KeyError struct {
	File string
	Err  error
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %q: %v", e.File, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }
