#!/usr/bin/perl
# Commands over https: certificates are checked, unless one says that they shall not be.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use Errno qw(EINTR);
use FakeAgent;
use File::Temp ();
use IO::Socket::INET;
use POSIX ();
use Test::More;

plan skip_all => 'openssl is not installed' if !grep { -x "$_/openssl" } split /:/, $ENV{PATH};

my $dir = File::Temp->newdir;
my $kv = '[{"LockIndex":0,"Key":"a","Flags":0,"Value":"b25l","CreateIndex":1,"ModifyIndex":1}]';

# A certificate that bears a name, and is its own authority.
sub certificate
{
	my ($file, $san) = @_;

	system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test -addext subjectAltName=$san " .
	    "-keyout $dir/$file.key -out $dir/$file.pem >/dev/null 2>&1") == 0 or die 'openssl req failed';
}

# A server that answers with the files below $dir/www.
sub serve
{
	my ($cert, @more) = @_;
	my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
	my $port = $probe->sockport;

	close $probe;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		chdir "$dir/www";
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-cert', "$dir/$cert.pem", '-key', "$dir/$cert.key", '-WWW', @more
		    or POSIX::_exit(126);
	}
	wait_until(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }) or die 'no server';
	return ($pid, $port);
}

mkdir "$dir/$_" for 'www', 'www/v1', 'www/v1/kv', 'www/v1/catalog';
spew("$dir/www/v1/kv/a", $kv);
certificate('ip', 'IP:127.0.0.1');
certificate('name', 'DNS:server.dc1.consul');
certificate('client', 'DNS:client');
my @servers;
my ($pid, $port) = serve('ip');
push @servers, $pid;
my $addr = "https://127.0.0.1:$port";

is_deeply([ctl({ addr => $addr }, qw(kv get), "-ca-file=$dir/ip.pem", 'a')], [0, "one\n", ''], '-ca-file');
is_deeply([ctl({ addr => $addr, env => { CONSUL_CACERT => "$dir/ip.pem" } }, qw(kv get a))], [0, "one\n", ''], 'CONSUL_CACERT');
is_deeply([ctl({ addr => "127.0.0.1:$port", env => { CONSUL_HTTP_SSL => 'true', CONSUL_CACERT => "$dir/ip.pem" } }, qw(kv get a))],
    [0, "one\n", ''], 'CONSUL_HTTP_SSL');
is_deeply([ctl({ addr => $addr, env => { CONSUL_HTTP_SSL_VERIFY => 'false' } }, qw(kv get a))], [0, "one\n", ''], 'CONSUL_HTTP_SSL_VERIFY=false');
my @got = ctl({ addr => $addr }, qw(kv get a));
is($got[0], 1, 'an unknown authority is refused');
like($got[2], qr{^Error querying Consul agent: Get "\Q$addr\E/v1/kv/a": .*certificate}i, 'and told');
is((ctl({ addr => $addr }, qw(kv get), "-ca-file=$dir/name.pem", 'a'))[0], 1, 'so is another one');
is((ctl({ addr => $addr }, qw(kv get -ca-file=/nowhere/ca a)))[0], 1, 'and a file that does not exist');
@got = ctl({ addr => "http://127.0.0.1:$port" }, qw(kv get a));
is($got[0], 1, 'plain HTTP to a port of TLS fails');

# A watch's handler behind https
{
	my $agent = FakeAgent->new('GET /v1/agent/self' => '{"Config":{"NodeName":"n1"}}',
		'GET /v1/kv/a' => sub { my ($r) = @_; sleep 60 if $r->{query} =~ /index=/; return $kv; });
	my @watch = (qw(watch -type=key -key=a -http-method=GET), "-http-handler=$addr/v1/kv/a");
	my $asked = sub { return scalar grep { $_->{query} =~ /index=/ } $agent->requests; };
	my $job = ctl_start({ addr => $agent->addr }, @watch, '-http-tls-skip-verify');

	ok(wait_until(sub { $asked->() == 1 }), 'a watch sends to https');
	$job->signal('INT');
	is_deeply([$job->finish], [0, '', ''], 'any certificate will do with -http-tls-skip-verify');
	$job = ctl_start({ addr => $agent->addr }, @watch);
	ok(wait_until(sub { $asked->() == 2 }), 'without it');
	like($job->errors, qr{^Error executing handler: \Q$addr\E/v1/kv/a: .*certificate}i, 'the certificate is checked');
	$job->signal('INT');
	is(($job->finish)[0], 0, 'and the watch goes on');
}

($pid, $port) = serve('name', '-Verify', 1, '-CAfile', "$dir/client.pem", '-verify_return_error');
push @servers, $pid;
my @tls = ("-ca-file=$dir/name.pem", "-client-cert=$dir/client.pem", "-client-key=$dir/client.key");
$addr = "https://127.0.0.1:$port";
is_deeply([ctl({ addr => $addr }, qw(kv get), @tls, '-tls-server-name=server.dc1.consul', 'a')], [0, "one\n", ''], 'a server name and a client certificate');
is((ctl({ addr => $addr }, qw(kv get), @tls, 'a'))[0], 1, 'the address is not the name');
is((ctl({ addr => $addr }, qw(kv get), $tls[0], '-tls-server-name=server.dc1.consul', 'a'))[0], 1, 'a client without a certificate is refused');

my $free = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
$port = $free->sockport;
close $free;
is_deeply([ctl({ addr => "https://127.0.0.1:$port" }, qw(kv get a))], [1, '', "Error querying Consul agent: Get \"https://127.0.0.1:$port/v1/kv/a\": " .
    "dial tcp 127.0.0.1:$port: connect: connection refused\n"], 'nobody listens');

END {
	my $code = $?;

	for (@servers) {
		kill 'KILL', $_;
		1 while waitpid($_, 0) < 0 && $! == EINTR;
	}
	$? = $code;
}
done_testing;
