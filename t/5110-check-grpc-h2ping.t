#!/usr/bin/perl
# gRPC health and HTTP/2 PING checks against servers that pass, fail in every way, and hang.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use Node;
use JSON::PP ();
use Test::More;

my $t = Checks->targets(tls => 1);
my $p = $t->{port};
my $gone = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $closed = $gone->sockport;
close $gone;
my $n = Node->new(dev => 1, config => { check_update_interval => '0s' }, env => { SSL_CERT_FILE => "$t->{dir}/ca.pem" });
my $k = Checks->new($n);
my $at = "127.0.0.1:$p->{h2}";
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

sub memory
{
	my %pids = $n->pids;
	my ($kib) = Node::_slurp("/proc/$pids{checkd}/status") =~ /^VmRSS:\s*(\d+)/m;

	return $kib;
}

# ---- gRPC
$k->check("grpc-$_", GRPC => "$at/$_") for qw(up down lost unset strange garbage huge refused busy web cut bare none);
$k->check('grpc-server', GRPC => $at);
$k->check('grpc-path', GRPC => "$at/a/b");
$k->check('grpc-hang', GRPC => "$at/hang", Timeout => '300ms');
$k->check('grpc-silent', GRPC => "127.0.0.1:$p->{'h2-silent'}", Timeout => '300ms');
$k->check('grpc-closed', GRPC => "127.0.0.1:$closed/x");
$k->check('grpc-nowhere', GRPC => 'no.such.host.invalid:1');
$k->check('grpc-http1', GRPC => "127.0.0.1:$p->{'h2-http1'}");
$k->check('grpc-tls', GRPC => "127.0.0.1:$p->{h2s}/up", GRPCUseTLS => $true);
$k->check('grpc-tls-name', GRPC => "127.0.0.1:$p->{h2s}/up", grpc_use_tls => $true, TLSServerName => 'target.test');
$k->check('grpc-tls-other', GRPC => "127.0.0.1:$p->{h2s}/up", GRPCUseTLS => $true, TLSServerName => 'other.test');
$k->check('grpc-tls-any', GRPC => "127.0.0.1:$p->{h2s}/up", GRPCUseTLS => $true, TLSServerName => 'other.test', TLSSkipVerify => $true);
$k->check('grpc-tls-plain', GRPC => "$at/up", GRPCUseTLS => $true);

$k->becomes('grpc-server', 'passing', qr{^gRPC check $at: success$});
$k->becomes('grpc-up', 'passing', qr{^gRPC check $at/up: success$});
$k->becomes('grpc-path', 'passing', qr{^gRPC check $at/a/b: success$}, 'a service may have slashes');
$k->becomes('grpc-down', 'critical', qr{^gRPC $at/down serving status: NOT_SERVING$});
$k->becomes('grpc-lost', 'critical', qr{^gRPC $at/lost serving status: SERVICE_UNKNOWN$});
$k->becomes('grpc-unset', 'critical', qr{^gRPC $at/unset serving status: UNKNOWN$});
$k->becomes('grpc-strange', 'critical', qr{^gRPC $at/strange serving status: 99$});
$k->becomes('grpc-none', 'critical', qr{^rpc error: code = NotFound desc = unknown service$});
$k->becomes('grpc-refused', 'critical', qr{^rpc error: code = PermissionDenied desc = not \xe2\x82\xac you$}, 'grpc-message is decoded');
$k->becomes('grpc-busy', 'critical', qr{^rpc error: code = Unavailable desc = unexpected HTTP status code received from server: 503});
$k->becomes('grpc-web', 'critical', qr{^rpc error: code = Unknown desc = unexpected content-type "text/html"});
$k->becomes('grpc-garbage', 'critical', qr{^rpc error: code = Internal desc = grpc: failed to unmarshal});
$k->becomes('grpc-huge', 'critical', qr{^rpc error: code = ResourceExhausted desc = grpc: received message larger than max});
$k->becomes('grpc-cut', 'critical', qr{^rpc error: code = Unavailable desc = });
$k->becomes('grpc-bare', 'critical', qr{^rpc error: code = Internal desc = server closed the stream without sending trailers});
$k->becomes('grpc-hang', 'critical', qr{^rpc error: code = DeadlineExceeded desc = context deadline exceeded$});
$k->becomes('grpc-silent', 'critical', qr{^rpc error: code = DeadlineExceeded desc = context deadline exceeded$});
$k->becomes('grpc-closed', 'critical',
	qr{^rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp 127\.0\.0\.1:$closed: connect: connection refused"$});
$k->becomes('grpc-nowhere', 'critical', qr{^rpc error: code = Unavailable desc = .*no\.such\.host\.invalid});
$k->becomes('grpc-http1', 'critical', qr{^rpc error: code = Unavailable desc = });
$k->becomes('grpc-tls', 'passing', qr{success$});
$k->becomes('grpc-tls-name', 'passing', qr{success$}, 'the certificate may be for another name, when it is told');
$k->becomes('grpc-tls-other', 'critical', qr{^rpc error: code = Unavailable desc = .*certificate}, 'but not for any name');
$k->becomes('grpc-tls-any', 'passing', qr{success$}, 'unless nobody looks');
$k->becomes('grpc-tls-plain', 'critical', qr{^rpc error: code = Unavailable desc = });
is($k->now('grpc-up')->{Type}, 'grpc', 'the type is shown');

# ---- h2ping
$k->check('ping', H2PING => "127.0.0.1:$p->{h2}", H2PingUseTLS => $false);
$k->check("ping-$_", H2PING => "127.0.0.1:" . $p->{"h2-$_"}, h2ping_use_tls => $false, Timeout => '2s') for qw(goaway http1 close large flood);
$k->check("ping-$_", H2PING => "127.0.0.1:" . $p->{"h2-$_"}, h2ping_use_tls => $false, Timeout => '300ms') for qw(silent wrong);
$k->check('ping-closed', H2PING => "127.0.0.1:$closed");
$k->check('ping-bad', H2PING => 'nowhere');
$k->check('ping-tls', H2PING => "127.0.0.1:$p->{h2s}");
$k->check('ping-name', H2PING => "localhost:$p->{h2s}", TLSServerName => 'target.test');
$k->check('ping-other', H2PING => "localhost:$p->{h2s}");
$k->check('ping-any', H2PING => "localhost:$p->{h2s}", TLSSkipVerify => $true);
$k->check('ping-plain', H2PING => "127.0.0.1:$p->{h2}", Timeout => '1s');
$k->becomes('ping', 'passing', qr{^HTTP2 ping was successful$});
$k->becomes('ping-goaway', 'critical', qr{^HTTP2 ping failed: http2: server sent GOAWAY and closed the connection; LastStreamID=5, ErrCode=ENHANCE_YOUR_CALM$});
$k->becomes('ping-http1', 'critical', qr{^HTTP2 ping failed: .*not an HTTP/2 server});
$k->becomes('ping-close', 'critical', qr{^HTTP2 ping failed: (?:EOF|read: connection reset by peer)$});
$k->becomes('ping-large', 'critical', qr{^HTTP2 ping failed: http2: frame too large$});
$k->becomes('ping-flood', 'critical', qr{^HTTP2 ping failed: the server sends much, but no answer$});
$k->becomes('ping-silent', 'critical', qr{^HTTP2 ping failed: context deadline exceeded$});
$k->becomes('ping-wrong', 'critical', qr{^HTTP2 ping failed: context deadline exceeded$}, 'the answer to another PING is none');
$k->becomes('ping-closed', 'critical', qr{^Failed to dial to 127\.0\.0\.1:$closed: dial tcp 127\.0\.0\.1:$closed: connect: connection refused$});
$k->becomes('ping-bad', 'critical', qr{^Failed to dial to nowhere: .*missing port in address});
$k->becomes('ping-tls', 'passing', qr{^HTTP2 ping was successful$}, 'TLS is what an h2ping check speaks unless it is told otherwise');
$k->becomes('ping-name', 'passing', qr{^HTTP2 ping was successful$});
$k->becomes('ping-other', 'critical', qr{^Failed to dial to localhost:$p->{h2s}: tls: failed to verify certificate: });
$k->becomes('ping-any', 'passing', qr{^HTTP2 ping was successful$});
$k->becomes('ping-plain', 'critical', qr{^Failed to dial to });
is($k->now('ping')->{Type}, 'h2ping', 'the type is shown');

# ---- floods: each is given up in its time, and what else is checked goes on
my @floods = qw(settings pings continued again noise);
my $pid = {$n->pids}->{checkd};
my $before = memory();
for (@floods) {
	$k->check("grpc-$_", GRPC => "127.0.0.1:" . $p->{"h2-$_"}, Timeout => '2s');
	$k->check("ping-$_", H2PING => "127.0.0.1:" . $p->{"h2-$_"}, h2ping_use_tls => $false, Timeout => '2s');
}
for (@floods) {
	$k->becomes("grpc-$_", 'critical', qr{^rpc error: code = \w+ desc = .}, "gRPC: $_ without end");
	$k->becomes("ping-$_", 'critical', qr{^HTTP2 ping failed: .}, "PING: $_ without end");
}
$n->http('PUT', '/v1/agent/check/deregister/ping');
$k->check('ping', H2PING => "127.0.0.1:$p->{h2}", H2PingUseTLS => $false);
$k->becomes('ping', 'passing', qr{^HTTP2 ping was successful$}, 'another server is asked meanwhile');
cmp_ok(memory() - $before, '<', 64 * 1024, 'they take no memory (KiB)');
is({$n->pids}->{checkd}, $pid, 'checkd goes on');
$n->http('PUT', "/v1/agent/check/deregister/$_") for map { ("grpc-$_", "ping-$_") } @floods;

# Checks that are taken away while they wait. (Those of names as well: LeakSanitizer does not bear threads that are
# looking for one at the end.)
$n->http('PUT', "/v1/agent/check/deregister/$_") for qw(grpc-hang grpc-silent ping-silent grpc-nowhere ping-name ping-other ping-any);
$k->check('ping-silent', H2PING => "127.0.0.1:$p->{'h2-silent'}", h2ping_use_tls => $false, Timeout => '30s');
$k->check('grpc-silent', GRPC => "127.0.0.1:$p->{'h2-silent'}", Timeout => '30s');
$k->becomes('ping', 'passing', qr{});
$k->clean;
done_testing;
