#!/usr/bin/perl
# How commands reach an agent: addresses, tokens, what is sent, and what is said when it fails.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use File::Temp ();
use IO::Socket::INET;
use Test::More;

my $dir = File::Temp->newdir;
my $kv = '[{"LockIndex":0,"Key":"a","Flags":0,"Value":"b25l","CreateIndex":1,"ModifyIndex":1}]';
my $chunked = join '', map { sprintf "%x;ext=1\r\n%s\r\n", length, $_ } $kv =~ /(.{1,7})/g;
my $asked = 0;	# on this connection, which the fake serves by a process of its own
my %answers = (
	'GET /v1/agent/self' => sub { $asked++; return '{"Config":{"NodeName":"n"}}' },
	'GET /v1/kv/tired' => sub { return $asked++ ? { raw => '' } : $kv },
	'GET /v1/kv/a' => $kv,
	'GET /gateway/v1/kv/a' => $kv,
	'GET /v1/kv/chunked' => { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}0\r\nX-Trailer: 1\r\n\r\n" },
	'GET /v1/kv/toend' => { raw => "HTTP/1.0 200 OK\n\n$kv" },
	'GET /v1/kv/interim' => { raw => "HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-LENGTH: " . length($kv) . "\r\n\r\n$kv" },
	'GET /v1/kv/short' => { raw => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n$kv" },
	'GET /v1/kv/nothing' => { raw => '' },
	'GET /v1/kv/garbage' => { raw => "SSH-2.0-OpenSSH_9.2\r\n\r\n" },
	'GET /v1/kv/badchunk' => { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n" },
	'GET /v1/kv/longline' => { raw => "HTTP/1.1 200 OK\r\nX: " . 'y' x 100000 . "\r\n\r\n" },
	'GET /v1/kv/headers' => { raw => "HTTP/1.1 200 OK\r\n" . "X: y\r\n" x 10000 . "\r\n" },
	'PUT /v1/kv/early' => { raw => "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large" },
	'GET /v1/catalog/datacenters' => '["dc1"]',
);
my $a = FakeAgent->new(%answers);
my $port = (split /:/, $a->addr)[1];

sub is_ok
{
	my ($name, $opts, @args) = @_;
	my @got = ctl($opts, 'kv', 'get', @args, 'a');

	is_deeply(\@got, [0, "one\n", ''], $name) or diag explain \@got;
}

sub header { return ($a->requests)[-1]{headers}{$_[0]}; }

# Addresses
is_ok('host:port', { addr => "127.0.0.1:$port" });
is_ok('http://', { addr => "http://127.0.0.1:$port" });
is_ok('a name', { addr => "localhost:$port" });
is_ok('a path before all paths', { addr => "http://127.0.0.1:$port/gateway/" });
is_ok('-http-addr wins', { addr => '127.0.0.1:1' }, '-http-addr', "127.0.0.1:$port");
is(header('host'), "127.0.0.1:$port", 'the Host header');
{
	my $long = "$dir/" . join '/', ('d' x 50) x 3;
	my $u = FakeAgent->new(%answers, unix => "$dir/sock");

	is_ok('unix://', { addr => "unix://$dir/sock" });
	system 'mkdir', '-p', $long;
	rename "$dir/sock", "$long/sock";
	is_ok('a Unix socket whose path is longer than an address', { addr => "unix://$long/sock" });
}
my @got = ctl({ addr => "unix://$dir/none" }, qw(kv get a));
like($got[2], qr{^Error querying Consul agent: Get "http://.*": dial unix \Q$dir\E/none: connect: no such file or directory$},
    'no such socket');
is($got[0], 1, 'is an error');
@got = ctl({ addr => 'gopher://x' }, qw(kv get a));
is_deeply(\@got, [1, '', "Error connecting to Consul agent: Unknown protocol scheme: gopher\n"], 'an unknown scheme');
@got = ctl({ addr => "127.0.0.1:$port\r\nX: y" }, qw(kv get a));
is($got[0], 1, 'an address of two lines');
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $closed = $listener->sockport;
close $listener;
@got = ctl({ addr => "127.0.0.1:$closed" }, qw(kv get a));
is_deeply(\@got, [1, '', "Error querying Consul agent: Get \"http://127.0.0.1:$closed/v1/kv/a\": " .
    "dial tcp 127.0.0.1:$closed: connect: connection refused\n"], 'nobody listens');
@got = ctl({ addr => "nowhere.invalid:1" }, qw(kv get a));
like($got[2], qr/dial tcp: lookup nowhere\.invalid: /, 'a name that does not exist');

# Who we are
is_ok('no token', { addr => $a->addr });
is(header('x-consul-token'), undef, 'none is sent');
spew("$dir/token", "  from-file\n");
for my $case (
	[ 'from the environment', { CONSUL_HTTP_TOKEN => 'from-env' }, [], 'from-env' ],
	[ 'from the flag', { CONSUL_HTTP_TOKEN => 'from-env' }, ['-token=from-flag'], 'from-flag' ],
	[ 'from a file', { CONSUL_HTTP_TOKEN => 'from-env' }, ["-token-file=$dir/token"], 'from-file' ],
	[ 'from a file in the environment', { CONSUL_HTTP_TOKEN_FILE => "$dir/token" }, [], 'from-file' ]) {
	my ($name, $env, $args, $want) = @$case;

	is_ok("a token $name", { addr => $a->addr, env => $env }, @$args);
	is(header('x-consul-token'), $want, 'is sent');
}
@got = ctl({ addr => $a->addr }, qw(kv get -token-file=/nowhere/t a));
is_deeply(\@got, [1, '', "Error connecting to Consul agent: Error loading token file: open /nowhere/t: no such file or directory\n"],
    'a token file that is missing');
@got = ctl({ addr => $a->addr }, 'kv', 'get', "-token=a\r\nX-Evil: 1", 'a');
is($got[0], 1, 'a token of two lines is not sent');
is_ok('a user and a password', { addr => $a->addr, env => { CONSUL_HTTP_AUTH => 'user:pass' } });
is(header('authorization'), 'Basic dXNlcjpwYXNz', 'are sent');

# Answers
for my $key (qw(chunked toend interim)) {
	@got = ctl({ addr => $a->addr }, 'kv', 'get', $key);
	is_deeply(\@got, [0, "one\n", ''], "an answer $key");
}
for my $case ([ short => 'unexpected EOF' ], [ nothing => 'EOF' ], [ garbage => 'malformed HTTP response' ],
	[ badchunk => 'malformed HTTP response' ], [ longline => 'malformed HTTP response' ], [ headers => 'malformed HTTP response' ]) {
	my ($key, $why) = @$case;

	@got = ctl({ addr => $a->addr }, 'kv', 'get', $key);
	is($got[0], 1, "a broken answer: $key");
	like($got[2], qr/: (net\/http: )?\Q$why\E$/, 'is told');
}
@got = ctl({ addr => $a->addr, stdin => 'x' x 4_000_000 }, qw(kv put early -));
is_deeply(\@got, [1, '', "Error! Failed writing data: Unexpected response code: 413 (too large)\n"], 'a refusal before all was sent');
@got = ctl({ addr => $a->addr }, qw(catalog datacenters));
is_deeply(\@got, [0, "dc1\n", ''], 'catalog datacenters');

@got = ctl({ addr => $a->addr }, qw(watch -type=key -key=tired));
is($got[0], 0, 'an idle connection that is closed when it is used again is made anew');
like($got[1], qr/"Value": "b25l"/, 'and the question asked again');

# Output
my $job = ctl_start({ addr => $a->addr, out => '/dev/full' }, qw(kv get a));
@got = $job->finish;
is_deeply([@got[0, 2]], [1, "Error writing the output: no space left on device\n"], 'output that cannot be written is an error');
my $ctl = ctl_path();
my $text = `CONSUL_HTTP_ADDR=@{[$a->addr]} sh -c '{ $ctl kv get a; echo "code \$?" >&2; } | true' 2>&1`;
like($text, qr/^code (141|0|1)\n$/, 'a closed pipe ends it without a word') or diag $text;

done_testing;
