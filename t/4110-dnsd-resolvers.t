#!/usr/bin/perl
# Resolvers that forward consul. to us, each by the recipe of consulctl-dns(7) as it is printed there: dnsmasq, unbound
# and systemd-resolved, at their usual addresses in a network namespace of this test's own. getent asks through each.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use File::Temp ();
use POSIX ();
use Cluster;
use Dns;
use Node;

plan skip_all => 'network namespaces cannot be made here' if !Cluster::can_namespace();
Cluster::namespace();
sub run { my ($rc, $out, $err) = Node::_run({}, @_); die "@_: $out$err" if $rc; return $out }
run(qw(ip link set lo up));
# An interface besides: without one the C library and systemd-resolved think that there is no network.
run(qw(ip link add up0 type veth peer name up1));
run('ip', 'link', 'set', $_, 'up') for qw(up0 up1);
run(qw(ip addr add 10.255.255.1/24 dev up0));
run(qw(ip addr add fd00:255::1/64 dev up0 nodad));
run(qw(mount -t tmpfs tmpfs /run));
my $dir = '/run';

my $n = Node->new(dev => 1, name => 'server', ip => '127.0.0.1', ports => { dns => 8600, http => 8500, server => 8300, serf_lan => 8301, serf_wan => 8302 },
	config => { log_level => 'debug', dns_config => { service_ttl => { kept => '60s' }, soa => { min_ttl => 20 }, enable_truncate => JSON::PP::true } });
Dns::catalog($n, 'Node-A', '10.0.0.1', { Service => 'web', Port => 80 });
Dns::catalog($n, 'Node-B', '10.0.0.2', { Service => 'kept', Port => 80 });
Dns::catalog($n, "many$_", "10.1.0.$_", { Service => 'many', Port => 1000 + $_ }) for 1 .. 100;
Dns::catalog($n, 'six', '2001:db8::6', { Service => 'six', Port => 80 });
Dns::catalog($n, 'h', '10.0.0.9', { Service => 'inside', Port => 80, Address => 'web.service.consul' });

# The recipe that begins with the path of its file.
my $page = Node::_slurp("$Node::SRCDIR/man/consulctl-dns.7");
sub recipe
{
	my ($path) = @_;
	my ($text) = $page =~ /^\.Bd [^\n]*\n(# \Q$path\E\n.*?)^\.Ed$/ms or die "no recipe for $path";

	$text =~ s/\\e/\\/g;
	die "macros within the recipe" if $text =~ /^\./m;
	return $text;
}

# ---- a resolver as a child, and questions through it

my $child;
sub start
{
	my ($what, @cmd) = @_;

	$child = fork // die "fork: $!";
	if ($child == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$dir/$what.log";
		open STDERR, '>&', \*STDOUT;
		exec { $cmd[0] } @cmd or POSIX::_exit(126);
	}
}

sub stop
{
	kill TERM => $child;
	waitpid $child, 0;
}

# Answers through the resolver at an address, without its ids and times.
sub via
{
	my ($ip, @args) = @_;

	my ($rc, $out) = Node::_run({}, 'dig', "\@$ip", '+time=5', '+tries=2', '+noall', '+answer', '+comments', @args);
	my ($status) = $out =~ /status: (\w+)/;
	return { status => $status // 'none', answer => [sort map { my ($o, $t, undef, @d) = split; join " ", $o, $t, @d } grep { /^[^;\s]/ } split /\n/, $out],
		text => $out };
}

sub addresses { my ($r) = @_; return join ' ', sort map { (split)[-1] } @{$r->{answer}} }
sub asked { my ($name) = @_; return scalar(() = $n->log_text =~ /request served from client: name=\Q$name\E\. /gi) }

# What every one of them has to do.
sub check_resolver
{
	my ($what, $ip, $keeps) = @_;
	my $r;

	ok $n->wait_for(sub { $r = via($ip, 'web.service.consul'); $r->{status} eq 'NOERROR' }), "$what: a service" or diag $r->{text}, Node::_slurp("$dir/$what.log");
	is addresses($r), '10.0.0.1', '... with its address';
	is via($ip, 'six.service.consul', 'AAAA')->{answer}[0] // '', 'six.service.consul. 0 AAAA 2001:db8::6', '... of IPv6';
	is addresses(via($ip, 'WEB.sErviCe.Consul')), '10.0.0.1', '... whatever the case';
	is via($ip, 'web.service.consul', 'SRV')->{answer}[0] // '', 'web.service.consul. 0 SRV 1 1 80 Node-A.node.dc1.consul.', '... and its port';
	is addresses(via($ip, 'node-a.node.consul')), '10.0.0.1', 'a node';
	is via($ip, 'nope.service.consul')->{status}, 'NXDOMAIN', 'a service that is not there';
	is via($ip, 'six.service.consul', 'A')->{status} . @{via($ip, 'six.service.consul', 'A')->{answer}}, 'NOERROR0', 'a type that is not there';
	# A resolver asks by UDP first, and learns that there is more from TC alone.
	is scalar(@{via($ip, '+tcp', 'many.service.consul', 'A')->{answer}}), 100, 'a hundred addresses over TCP';
	like addresses(via($ip, 'inside.service.consul', 'A')), qr/\b10\.0\.0\.1\b/, 'a name that leads to another of ours';
	check_cache($what, $ip) if $keeps;
	my $before = asked('web.service.consul');
	via($ip, 'web.service.consul');
	cmp_ok asked('web.service.consul'), '>', $before, 'what has no TTL is asked for each time';
}

# A TTL is kept to, and so is the absence of a name.
sub check_cache
{
	my ($what, $ip) = @_;

	via($ip, 'kept.service.consul');
	my $before = asked('kept.service.consul');
	is addresses(via($ip, 'kept.service.consul')), '10.0.0.2', 'again, what may be kept for a minute';
	is asked('kept.service.consul'), $before, '... and we are not asked';
	via($ip, "absent-$what.service.consul");
	$before = asked("absent-$what.service.consul");
	is via($ip, "absent-$what.service.consul")->{status}, 'NXDOMAIN', 'a name that was not there';
	is asked("absent-$what.service.consul"), $before, '... is not asked for again, for soa.min_ttl';
}

# As programs do: the C library, with the resolver in resolv.conf.
sub check_getent
{
	my ($what, $ip) = @_;

	Node::write_file("$dir/resolv.conf", "nameserver $ip\noptions timeout:5\n");
	run('mount', '--bind', "$dir/resolv.conf", '/etc/resolv.conf');
	my ($rc, $out) = Node::_run({}, 'getent', 'ahostsv4', 'web.service.consul');
	like $out, qr{^10\.0\.0\.1\s+STREAM}, "$what: getent finds the service";
	($rc, $out) = Node::_run({}, 'getent', 'ahosts', 'six.service.consul');
	like $out, qr/^2001:db8::6\s+STREAM/, '... of IPv6, too';
	($rc, $out) = Node::_run({}, 'getent', 'hosts', 'nope.service.consul');
	is $rc, 2, '... and what is not there, not';
	($rc, $out) = Node::_run({}, 'getent', 'ahostsv4', 'many.service.consul');
	is scalar(() = $out =~ /STREAM/g), 100, '... and all of many, though it begins with UDP';
	run('umount', '/etc/resolv.conf');
}

# ---- us alone: what a machine without another resolver would use needs port 53, see below

SKIP: {
	my $dnsmasq = (grep { -x } '/usr/sbin/dnsmasq', '/usr/local/sbin/dnsmasq')[0];
	skip 'dnsmasq is not installed', 20 if !$dnsmasq;
	Node::write_file("$dir/dnsmasq.conf", recipe('/etc/dnsmasq.d/consul.conf'));
	start('dnsmasq', $dnsmasq, '--keep-in-foreground', '--log-facility=-', '--log-queries', '--user=root', '--pid-file', '--no-resolv', '--no-hosts',
		'--listen-address=127.0.0.53', '--bind-interfaces', "--conf-file=$dir/dnsmasq.conf");
	check_resolver('dnsmasq', '127.0.0.53', 1);
	check_getent('dnsmasq', '127.0.0.53');
	is addresses(via('127.0.0.53', '-x', '10.0.0.1')), 'Node-A.node.dc1.consul.', 'dnsmasq: an address backwards';
	isnt via('127.0.0.53', '-x', '10.200.0.1')->{status}, 'NOERROR', '... one that nobody has';
	is via('127.0.0.53', 'www.example.org')->{status}, 'REFUSED', '... and other names do not come to us';
	is asked('www.example.org'), 0, '... indeed';
	stop();
}

SKIP: {
	my $unbound = (grep { -x } '/usr/sbin/unbound', '/usr/local/sbin/unbound')[0];
	skip 'unbound is not installed', 20 if !$unbound;
	# Its caps-for-id mixes upper and lower case in each question, and wants it back.
	Node::write_file("$dir/unbound.conf", recipe('/etc/unbound/unbound.conf.d/consul.conf') . <<"X");
server:
	interface: 127.0.0.54
	use-caps-for-id: yes
	username: ""
	chroot: ""
	directory: "$dir"
	pidfile: ""
	use-syslog: no
	verbosity: 1
	num-threads: 1
X
	start('unbound', $unbound, '-d', '-p', '-c', "$dir/unbound.conf");
	check_resolver('unbound', '127.0.0.54', 1);
	check_getent('unbound', '127.0.0.54');
	like $n->log_text, qr/name=(?=\S*[A-Z])(?=\S*[a-z])[wW][eE][bB]\.[sS][eE][rR][vV][iI][cC][eE]\.[cC]\S+ type=A /, 'unbound: it asked in mixed case';
	unlike Node::_slurp("$dir/unbound.log"), qr/capsforid|caps_?fallback/i, '... and was never told otherwise';
	is scalar(@{via('127.0.0.54', '+notcp', '+bufsize=4096', 'many.service.consul', 'A')->{answer}}), 100, '... and all of many with EDNS';
	is scalar(@{via('127.0.0.54', '+tcp', 'many.service.consul', 'SRV')->{answer}}), 100, 'what was cut with TC is fetched by TCP';
	like $n->log_text, qr/name=many\.service\.consul\. type=SRV class=IN latency=\S+ client=\S+ client_network=tcp/i, '... from us';
	stop();
}

SKIP: {
	# Where it is not installed it may have been unpacked somewhere: installing it takes over the machine's names.
	my $root = $ENV{RESOLVED_ROOT} // "$Node::BUILDDIR/resolved";
	my ($resolved) = grep { -x } '/lib/systemd/systemd-resolved', "$root/lib/systemd/systemd-resolved";
	skip 'there is no systemd-resolved', 20 if !$resolved;
	my $lib = $resolved =~ m{^\Q$root\E} ? "$root/usr/lib/" . (split ' ', run('uname', '-m'))[0] . '-linux-gnu/systemd' : '';
	for (['passwd', "systemd-resolve:x:64999:64999::/:/usr/sbin/nologin\n"], ['group', "systemd-resolve:x:64999:\n"]) {
		my ($file, $line) = @$_;
		my $text = Node::_slurp("/etc/$file");
		$text .= $line if $text !~ /^systemd-resolve:/m;
		Node::write_file("$dir/$file", $text);
		run('mount', '--bind', "$dir/$file", "/etc/$file");
	}
	my ($uid, $gid) = (getpwnam 'systemd-resolve')[2, 3];
	run('mkdir', '-p', "$dir/systemd/resolve", "$dir/systemd/resolved.conf.d");
	chown $uid, $gid, "$dir/systemd/resolve";
	Node::write_file("$dir/systemd/resolved.conf.d/consul.conf", recipe('/etc/systemd/resolved.conf.d/consul.conf'));
	$ENV{LD_LIBRARY_PATH} = $lib if $lib ne '';
	start('resolved', $resolved);
	delete $ENV{LD_LIBRARY_PATH} if $lib ne '';
	if (!$n->wait_for(sub { via('127.0.0.53', 'localhost')->{status} ne 'none' }, 10)) {
		diag Node::_slurp("$dir/resolved.log");
		stop();
		skip 'systemd-resolved does not run here', 20;
	}
	# It keeps nothing that a server on this machine has said.
	check_resolver('resolved', '127.0.0.53', 0);
	check_getent('resolved', '127.0.0.53');
	stop();
}

# ---- we ourselves are the machine's resolver

my $eight = Node->new(dev => 1, name => 'eight', ip => '127.0.0.8', ports => { dns => 53, http => 8501, server => 8311, serf_lan => 8312, serf_wan => 8313 });
Dns::catalog($eight, 'other', '10.8.8.8', { Service => 'behind', Port => 1 });
$n->stop;
my $text = recipe('/etc/consul.d/dns.hcl');
like $text, qr/"192\.0\.2\.53"/, 'the recipe names a recursor';
$text =~ s/"192\.0\.2\.53"/"127.0.0.8"/;
my $own = Node->new(dev => 1, name => 'own', ip => '127.0.0.9', ports => { http => 8502, server => 8321, serf_lan => 8322, serf_wan => 8323 },
	config => { domain => 'here' }, config_dir => { 'dns.hcl' => $text });
Dns::catalog($own, 'Node-A', '10.0.0.1', { Service => 'web', Port => 80 });
is addresses(via('127.0.0.9', 'web.service.here')), '10.0.0.1', 'port 53: our own names';
is addresses(via('127.0.0.9', 'behind.service.consul')), '10.8.8.8', '... and those of others, from the recursor, at port 53';
Node::write_file("$dir/resolv.conf", "nameserver 127.0.0.9\n");
run('mount', '--bind', "$dir/resolv.conf", '/etc/resolv.conf');
like +(Node::_run({}, 'getent', 'ahostsv4', 'behind.service.consul'))[1], qr/^10\.8\.8\.8\s/, '... for the C library';
run('umount', '/etc/resolv.conf');
$own->stop;
$eight->stop;
done_testing;
