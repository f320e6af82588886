#!/usr/bin/perl
# Targets whose names nobody resolves: many checks that wait for a resolver hold up neither those of addresses, nor
# checkd itself, nor its end.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
BEGIN {
	plan skip_all => 'a resolver of our own needs root' if $> != 0;
	plan skip_all => 'no mount namespaces here' if system('unshare -m true 2>/dev/null') != 0;
	if (!$ENV{OWN_MOUNTS}) {
		$ENV{OWN_MOUNTS} = 1;
		exec 'unshare', '-m', '--propagation', 'private', $^X, $0 or die "unshare: $!";
	}
}
use Checks;
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use Node;
use Time::HiRes qw(sleep time);

# ---- a name server that takes questions, and answers none

my $dir = File::Temp->newdir("slow-names-$$-XXXXXX", TMPDIR => 1);
my $ip = Node::_address();
my $hole = IO::Socket::INET->new(LocalAddr => $ip, LocalPort => 53, Proto => 'udp') or plan skip_all => "no port 53 here: $!";
Node::write_file("$dir/resolv.conf", "nameserver $ip\noptions timeout:30 attempts:3\n");
Node::write_file("$dir/nsswitch.conf", "hosts: files dns\n");
plan skip_all => 'cannot mount here'
	if system("mount --bind $dir/resolv.conf /etc/resolv.conf 2>/dev/null && mount --bind $dir/nsswitch.conf /etc/nsswitch.conf 2>/dev/null") != 0;

my $target = IO::Socket::INET->new(LocalAddr => $ip, Listen => 100) or die $!;
my $port = $target->sockport;
my $local = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100) or die $!;
my $other_port = $local->sockport;
my $n = Node->new(dev => 1, config => { check_update_interval => '0s', enable_script_checks => JSON::PP::true },
	env => { DOCKER_HOST => 'tcp://engine.slow.test:2375' });
my $k = Checks->new($n);

# ---- each kind, more often than there are threads that resolve names

my %kind = (
	tcp => sub { (TCP => "$_[0]:1") },
	'tcp-tls' => sub { (TCP => "$_[0]:1", TCPUseTLS => JSON::PP::true) },
	udp => sub { (UDP => "$_[0]:1") },
	h2ping => sub { (H2PING => "$_[0]:1") },
	http => sub { (HTTP => "http://$_[0]:1/") },
	grpc => sub { (GRPC => "$_[0]:1") },
	docker => sub { (DockerContainerID => 'c', Args => ['true']) },
);
for my $kind (sort keys %kind) {
	$k->check("$kind-$_", $kind{$kind}->("$kind-$_.slow.test"), Timeout => '500ms') for 1 .. 3;
}
for my $kind (sort keys %kind) {
	$k->becomes("$kind-$_", 'critical', qr/./, "$kind-$_ is given up") for 1 .. 3;
}

# ---- what needs no name goes on

$k->check('address-tcp', TCP => "$ip:$port");
$k->check('address-tls', H2PING => "$ip:$port", H2PingUseTLS => JSON::PP::false, Timeout => '300ms');
$k->check('address-grpc', GRPC => "$ip:$port", Timeout => '300ms');
$k->becomes('address-tcp', 'passing', qr/Success$/, 'an address is connected to');
$k->becomes('address-tls', 'critical', qr/^HTTP2 ping failed: context deadline exceeded/, '... and pinged');
$k->becomes('address-grpc', 'critical', qr/DeadlineExceeded/, '... and asked by gRPC');

# Names that are known are found while the others are looked for.
$k->check('name-tcp', TCP => "localhost:$other_port", Timeout => '10s');
$k->check('name-udp', UDP => "localhost:$other_port", Timeout => '500ms');
$k->check('name-http', HTTP => "http://localhost:$other_port/", Timeout => '500ms');
$k->becomes('name-tcp', 'passing', qr/Success$/, 'a name of /etc/hosts is found');
$k->becomes('name-http', 'critical', qr/deadline exceeded/, '... by libcurl as well');
isnt $k->now('name-udp')->{Output}, '', '... and asked by UDP';

# A script counts how often the loop comes round to it.
$k->check('clock', Args => ['sh', '-c', "echo x\$UV_THREADPOOL_SIZE >>$dir/ticks"], Interval => '1s');
ok $n->wait_for(sub { (-s "$dir/ticks" // 0) >= 10 }), 'checkd is never held up for long';

unlike Node::_slurp("$dir/ticks"), qr/\d/, 'no script hears how many threads checkd has';

# ---- removed while they wait, and stopped

$n->http('PUT', "/v1/agent/check/deregister/$_-1") for sort keys %kind;
ok $n->wait_for(sub { !grep { /-1$/ } keys %{$n->get_json('/v1/agent/checks')} }), 'checks are removed while their names are looked up';
my $t = time;
$k->clean;
cmp_ok time - $t, '<', 25, 'checkd ends without its answers';
done_testing;
