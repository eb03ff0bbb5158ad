package dashboard

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// policy allows nothing but what the page brings along. The page's scripts put all texts into the document as text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses requests that another web site makes through a user's browser: by its own name that leads to this address (DNS rebinding), or from its own pages.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.isOurs(r.Host):
			http.Error(w, "this address is not called "+strings.ToValidUTF8(r.Host, "?"), http.StatusForbidden)
		case !isSame(r):
			http.Error(w, "only the page itself may ask", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isOurs reports whether a Host header names this server in a way that no web site can choose: by a number, as localhost, or by what the machine or the
// configuration calls it.
func (s *Server) isOurs(name string) bool {
	host, _, err := net.SplitHostPort(name)
	if err != nil {
		host = strings.Trim(name, "[]")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return s.config.Public || ip.IsLoopback()
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	machine, _ := os.Hostname()
	named, _, _ := net.SplitHostPort(s.config.Address)
	return s.config.Public && host != "" && (strings.EqualFold(host, machine) || strings.EqualFold(host, named))
}

// isSame reports whether a request comes from the page itself, from a user who opens the page, or from a program that is no browser.
func isSame(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		from, err := url.Parse(origin)
		return err == nil && from.Scheme == "http" && from.Host == r.Host
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none" || r.URL.Path == "/"
}

// hasToken reports whether a request has the token of this server.
func (s *Server) hasToken(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+s.token)) == 1
}
