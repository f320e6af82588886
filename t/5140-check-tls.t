#!/usr/bin/perl
# Checks over TLS: tcp_use_tls and HTTPS, with names and without looking, and the agent's own certificate for all that speak it.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use Node;
use JSON::PP ();
use Test::More;

my $t = Checks->targets(tls => 1);
my ($p, $d) = ($t->{port}, $t->{dir});
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $gone = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my $closed = $gone->sockport;
close $gone;
my $n = Node->new(dev => 1, config => { check_update_interval => '0s' }, env => { SSL_CERT_FILE => "$d/ca.pem" });
my $k = Checks->new($n);

# ---- TCP
$k->check('tls', TCP => "127.0.0.1:$p->{tls}", TCPUseTLS => $true);
$k->check('tls-name', TCP => "127.0.0.1:$p->{tls}", tcp_use_tls => $true, TLSServerName => 'target.test');
$k->check('tls-localhost', TCP => "localhost:$p->{tls}", TCPUseTLS => $true);
$k->check('tls-any', TCP => "localhost:$p->{tls}", TCPUseTLS => $true, tls_skip_verify => $true);
$k->check('tls-plain', TCP => "127.0.0.1:$p->{'tls-plain'}", TCPUseTLS => $true, Timeout => '3s');
$k->check('tls-silent', TCP => "127.0.0.1:$p->{'tls-silent'}", TCPUseTLS => $true, Timeout => '300ms');
$k->check('tls-closed', TCP => "127.0.0.1:$closed", TCPUseTLS => $true);
$k->check('tcp-only', TCP => "127.0.0.1:$p->{tls}");
$k->becomes('tls', 'passing', qr{^TCP\+TLS connect 127\.0\.0\.1:$p->{tls}: Success$});
$k->becomes('tls-name', 'passing', qr{^TCP\+TLS connect .*: Success$}, 'another name, when it is told');
$k->becomes('tls-localhost', 'critical', qr{^tls: failed to verify certificate: .*name}, 'not any name');
$k->becomes('tls-any', 'passing', qr{^TCP\+TLS connect .*: Success$}, 'unless nobody looks');
$k->becomes('tls-plain', 'critical', qr{^(?:tls: |EOF|read: )}, 'a target without TLS');
$k->becomes('tls-silent', 'critical', qr{^dial tcp 127\.0\.0\.1:$p->{'tls-silent'}: i/o timeout$}, 'one that never shakes hands');
$k->becomes('tls-closed', 'critical', qr{^dial tcp 127\.0\.0\.1:$closed: connect: connection refused$});
$k->becomes('tcp-only', 'passing', qr{^TCP connect 127\.0\.0\.1:$p->{tls}: Success$});
is($k->now('tls')->{Type}, 'tcp', 'the type is tcp');

# ---- HTTPS
my $web = "https://127.0.0.1:$p->{https}";
$k->check('https', HTTP => "$web/");
$k->check("https-$_", HTTP => "$web/$_") for qw(warn fail);
$k->check('https-hang', HTTP => "$web/hang", Timeout => '500ms');
$k->check('https-name', HTTP => "$web/", TLSServerName => 'target.test');
$k->check('https-host', HTTP => "$web/", TLSServerName => 'target.test', Header => { Host => ['own.test'] });
$k->check('https-other', HTTP => "$web/", TLSServerName => 'other.test');
$k->check('https-any', HTTP => "$web/", TLSServerName => 'other.test', TLSSkipVerify => $true);
$k->check('https-client', HTTP => "https://127.0.0.1:$p->{'https-client'}/");
$k->becomes('https', 'passing', qr{200 OK Output: nobody asks 127\.0\.0\.1:$p->{https}$});
$k->becomes('https-warn', 'warning', qr{429 Too Many Requests});
$k->becomes('https-fail', 'critical', qr{500 Broken});
$k->becomes('https-hang', 'critical', qr{context deadline exceeded});
$k->becomes('https-name', 'passing', qr{nobody asks 127\.0\.0\.1:$p->{https}$}, 'the Host stays that of the URL');
$k->becomes('https-host', 'passing', qr{nobody asks own\.test$}, 'or the check\'s own');
$k->becomes('https-other', 'critical', qr{^Get "$web/": .*certificate});
$k->becomes('https-any', 'passing', qr{200 OK});
$k->becomes('https-client', 'critical', qr{^Get "https://127\.0\.0\.1:$p->{'https-client'}/": }, 'without a certificate of ours');
$k->clean;

# ---- the agent's own settings
Checks::authority($d, 'strange');
Checks::certificate($d, 'ca', 'agent', 'the agent');
Checks::certificate($d, 'ca', 'second', 'another agent');
my %tls = (enable_agent_tls_for_checks => $true, check_update_interval => '0s', ca_file => "$d/ca.pem", cert_file => "$d/agent.pem",
	key_file => "$d/agent.key", server_name => 'target.test');
chmod 0600, "$d/agent.key";
$n = Node->new(config => { %tls });
$k = Checks->new($n);
$k->check('https', HTTP => "https://127.0.0.1:$p->{'https-client'}/");
$k->check('own-name', HTTP => "https://127.0.0.1:$p->{'https-client'}/", TLSServerName => 'other.test');
$k->check('http', HTTP => "http://127.0.0.1:$p->{https}/");
$k->check('tls', TCP => "127.0.0.1:$p->{'tls-client'}", TCPUseTLS => $true);
$k->check('ping', H2PING => "127.0.0.1:$p->{'h2s-client'}");
$k->check('grpc', GRPC => "127.0.0.1:$p->{'h2s-client'}/up", GRPCUseTLS => $true);
$k->becomes('https', 'passing', qr{200 OK Output: the agent asks 127\.0\.0\.1}, 'HTTP checks show the agent\'s certificate');
$k->becomes('own-name', 'critical', qr{^Get .*certificate}, 'a check\'s own name comes first');
$k->becomes('tls', 'passing', qr{Success$}, 'TCP ones too');
$k->becomes('ping', 'passing', qr{successful$}, 'and h2ping');
$k->becomes('grpc', 'passing', qr{success$}, 'and gRPC');

# Who may read the key: the files are the supervisor's, checkd has their contents.
my $self = $n->get_json('/v1/agent/self');
unlike(JSON::PP::encode_json($self), qr/PRIVATE KEY/, 'nobody is shown the key');
my %pids = $n->pids;
for my $daemon (sort keys %pids) {
	my ($path) = map { /\A(?:.*\0)?-c\0([^\0]+)/ ? $1 : () } Node::_slurp("/proc/$pids{$daemon}/cmdline");

	next if !defined $path || !-e $path;
	my $slice = Node::_slurp($path);
	is($slice =~ /PRIVATE KEY/ ? 'the key' : 'none', $daemon eq 'checkd' ? 'the key' : 'none', "what $daemon is given");
	is((stat $path)[2] & 077, 0, '... and others cannot read');
}

# Another certificate, by a reload; the checks go on.
$n->write_config({ cert_file => "$d/second.pem", key_file => "$d/second.key" });
is(($n->http('PUT', '/v1/agent/reload'))[0], 200, 'a reload');
$k->becomes('https', 'passing', qr{another agent asks}, 'takes the new certificate');
$k->becomes('tls', 'passing', qr{Success$}, 'for the others as well');
# Authorities that do not know the targets.
$n->write_config({ ca_file => "$d/strange.pem" });
is(($n->http('PUT', '/v1/agent/reload'))[0], 200, 'a reload with other authorities');
$k->becomes($_, 'critical', qr{certificate}, "$_ no longer trusts its target") for qw(https ping grpc);
# What is refused changes nothing.
Node::write_file("$d/broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
for my $bad ([{ ca_file => "$d/none.pem" }, qr{ca_file: cannot read \S+/none\.pem: }], [{ ca_file => "$d/broken.pem" }, qr{no certificate of an authority}],
	[{ ca_file => "$d/ca.pem", key_file => "$d/agent.key" }, qr{cert_file and key_file cannot be used: }],
	[{ key_file => '' }, qr{cert_file and key_file belong together}], [{ key_file => "$d/second.key", verify_incoming => $true }, qr{verify_incoming is not supported}]) {
	$n->write_config($bad->[0]);
	my @r = $n->http('PUT', '/v1/agent/reload');
	is($r[0], 500, 'settings that cannot be used are refused');
	like($r[2] . $n->log_text, $bad->[1], '... with a sentence');
}
$n->write_config({ verify_incoming => $false, ca_file => '', ca_path => "$d/cas", tls => {} });
mkdir "$d/cas";
rename "$d/strange.pem", "$d/cas/a.pem";
Node::write_file("$d/cas/b.pem", Node::_slurp("$d/ca.pem"));
is(($n->http('PUT', '/v1/agent/reload'))[0], 200, 'a directory of authorities');
$k->becomes($_, 'passing', qr{}, "$_ trusts them") for qw(https ping grpc tls);
$n->write_config({ enable_agent_tls_for_checks => $false, ca_path => '', cert_file => '', key_file => '' });
is(($n->http('PUT', '/v1/agent/reload'))[0], 200, 'switched off');
$k->becomes($_, 'critical', qr{certificate}, "$_ does without") for qw(https ping grpc tls);
$k->clean;

# In Consul 1.16's place; without a name the targets must have the node's.
$n = Node->new(dev => 1, name => 'target', config => { enable_agent_tls_for_checks => $true, check_update_interval => '0s',
	tls => { defaults => { ca_file => "$d/ca.pem", cert_file => "$d/agent.pem", key_file => "$d/agent.key" } } });
$k = Checks->new($n);
$k->check('https', HTTP => "https://127.0.0.1:$p->{'https-client'}/");
$k->check('named', HTTP => "https://127.0.0.1:$p->{'https-client'}/", TLSServerName => 'target.test');
$k->becomes('named', 'passing', qr{the agent asks});
$k->becomes('https', 'critical', qr{certificate}, 'without a name it is the node\'s');
$k->clean;
done_testing;
