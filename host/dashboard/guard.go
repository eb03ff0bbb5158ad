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

// policy is the Content-Security-Policy of the page. It allows the page's own script, style sheet and requests, and nothing else.
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
		case r.ContentLength != 0:
			h.Set("Connection", "close") // what comes is not read
			http.Error(w, "no request has a body here", http.StatusRequestEntityTooLarge)
		case !s.isOurs(r.Host):
			http.Error(w, "this address is not called "+strings.ToValidUTF8(r.Host, "?")+"; a name that is given in the address to listen at is", http.StatusForbidden)
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
	host, machine = strings.ToLower(host), strings.ToLower(machine)
	return s.config.Public && host != "" && (host == machine || machine != "" && strings.HasPrefix(host, machine+".") || host == strings.ToLower(named))
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

// withToken refuses requests without the token of this server. Other users of the machine reach its loopback addresses, and so do plugins without a sandbox.
// A stream of events has its token in the address, because browsers send no header of ours with it.
func (s *Server) withToken(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if given == "" && r.Method == http.MethodGet {
			given = r.URL.Query().Get("token")
		}
		if subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) != 1 {
			http.Error(w, "open the page by the whole address that was printed, with what follows its #", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}
