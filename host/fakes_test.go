package host_test

var fakes = map[string]func(){}
