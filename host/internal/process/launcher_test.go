package process

import (
	"strings"
	"testing"
)

// A panic in go-plugin, which reads the handshake, would end the host.
func TestAPanicInGoPluginIsAnError(t *testing.T) {
	_, err := guarded(func() (int, error) { panic("no place for a certificate") })
	if err == nil || !strings.Contains(err.Error(), "no place for a certificate") {
		t.Errorf("a call that panics: got %v, want an error that says so", err)
	}
}
