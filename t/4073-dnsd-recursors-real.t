#!/usr/bin/perl
# Real servers as recursors: what they say directly and what they say through
# dnsd is the same, for plain clients and those with EDNS, over UDP and TCP.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;

my $dir = File::Temp->newdir(TMPDIR => 1);
my @children;
END { local $?; kill KILL => @children; waitpid $_, 0 for @children; }

my $d = Dnsd->new({ services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1')] } }, { recursors => [] });
my $ip = Node::_address();

sub start
{
	my ($what, $port, @cmd) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$dir/$what.log";
		open STDERR, '>&', \*STDOUT;
		exec { $cmd[0] } @cmd or POSIX::_exit(126);
	}
	push @children, $pid;
	my $at = { ip => $ip, ports => { dns => $port } };
	for (1 .. 300) {
		my $r = Dns::udp($at, Dns::query('host.example', 'A'), 1);
		return $at if length($r // '') > 12 && Dns::parse($r)->{status} eq 'NOERROR';
		sleep 0.1;
	}
	diag Node::_slurp("$dir/$what.log");
	return undef;
}

# A reply without what a server changes from one to the next: the order, TTLs that it counts down, which records are left of a cut one.
sub plain
{
	my ($reply) = @_;
	my $r = Dns::parse($reply) // return 'none';
	my @records = map { my $s = $_; ("$s:", $r->{flags}{tc} ? scalar @{$r->{$s}} : sort map { s/^(\S+) \d+ /$1 /r } @{$r->{$s}}) }
		qw(answer authority additional);

	return join "\n", $r->{status}, join(' ', sort keys %{$r->{flags}}), $r->{question}, $r->{udp} // '-', @records;
}

sub tcp { my ($n, $packet) = @_; my $s = Dns::socket_tcp($n) // return undef; syswrite $s, Dns::tcp_frame($packet); return Dns::tcp_read($s, 10); }

sub compare
{
	my ($what, $at) = @_;
	my $n = 0;

	$d->reload({ recursors => ["$ip:$at->{ports}{dns}"] });
	for my $q (['host.example', 'A'], ['host.example', 'AAAA'], ['host.example', 'TXT'], ['www.example', 'A'], ['nobody.example', 'A'],
		['host.example', 'ANY'], ['HoSt.ExAmPlE', 'A'], ['big.example', 'A'], ['host.example', 65280]) {
		for my $edns (0, 512, 1232, 4096) {
			my $packet = Dns::query(@$q, edns => $edns, id => 4242);
			for my $how (sub { Dns::udp($_[0], $packet, 10) }, sub { tcp($_[0], $packet) }) {
				my $direct = $how->($at);
				my $through = $how->($d);
				$n++ if plain($direct) eq plain($through) || diag "$what @$q $edns:\n" . plain($direct) . "\n--- through dnsd:\n" . plain($through);
			}
		}
	}
	is $n, 72, "$what: 72 answers are the same through dnsd";
	is Dns::ask($d, 'web.service.consul', 'A')->{answer}[0], 'web.service.consul. 0 A 10.0.0.1', '... and ours is ours';
}

my @big = map { "198.51.100.$_" } 1 .. 100;
sub which { my ($name) = @_; return (grep { -x } map { "$_/$name" } qw(/usr/sbin /usr/bin /usr/local/sbin))[0]; }

SKIP: {
	my $knotd = which('knotd');
	skip 'Knot is not installed', 3 if !$knotd;
	my $port = Node::_free_port($ip);
	Node::write_file("$dir/example.zone", join "\n", '$ORIGIN example.', '$TTL 60', '@ SOA ns root 1 3600 600 86400 30', '@ NS ns', 'ns A 192.0.2.53',
		'host A 192.0.2.1', 'host AAAA 2001:db8::1', 'host TXT "hello world"', 'www CNAME host', (map { "big A $_" } @big), '');
	Node::write_file("$dir/knot.conf", <<"X");
server:
    rundir: "$dir"
    listen: $ip\@$port
database:
    storage: "$dir"
zone:
  - domain: example
    file: "$dir/example.zone"
X
	my $at = start('knot', $port, $knotd, '-c', "$dir/knot.conf");
	ok $at, 'Knot is there' or skip 'it is not', 2;
	compare('Knot', $at);
}

SKIP: {
	my $dnsmasq = which('dnsmasq');
	skip 'dnsmasq is not installed', 3 if !$dnsmasq;
	my $port = Node::_free_port($ip);
	my $at = start('dnsmasq', $port, $dnsmasq, '--keep-in-foreground', '--log-facility=-', '--user=root', '--pid-file', '--conf-file=/dev/null',
		'--no-resolv', '--no-hosts', "--listen-address=$ip", "--port=$port", '--bind-interfaces', '--edns-packet-max=4096', '--local=/example/',
		'--host-record=host.example,192.0.2.1,2001:db8::1', '--txt-record=host.example,hello', '--cname=www.example,host.example',
		map { "--host-record=big.example,$_" } @big);
	ok $at, 'dnsmasq is there' or skip 'it is not', 2;
	compare('dnsmasq', $at);
}

SKIP: {
	my $unbound = which('unbound');
	skip 'unbound is not installed', 4 if !$unbound;
	my $port = Node::_free_port($ip);
	Node::write_file("$dir/unbound.conf", <<"X" . join '', map { qq(    local-data: "big.example. 60 A $_"\n) } @big);
server:
    interface: $ip\@$port
    access-control: 127.0.0.0/8 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "$dir"
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
    rrset-roundrobin: no
    max-udp-size: 4096
    local-zone: "example." static
    local-data: "host.example. 60 A 192.0.2.1"
    local-data: "host.example. 60 AAAA 2001:db8::1"
    local-data: 'host.example. 60 TXT "hello world"'
    local-data: "www.example. 60 CNAME host.example."
X
	my $at = start('unbound', $port, $unbound, '-d', '-p', '-c', "$dir/unbound.conf");
	ok $at, 'unbound is there' or skip 'it is not', 3;
	compare('unbound', $at);
	like +(Node::_run({}, 'dig', "\@$d->{ip}", '-p', $d->{ports}{dns}, 'host.example', 'A'))[1], qr/^host\.example\.\s+\d+\s+IN\s+A\s+192\.0\.2\.1$/m, 'dig, as it comes';
}
done_testing;
