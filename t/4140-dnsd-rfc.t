#!/usr/bin/perl
# What the RFCs ask of a server, question by question; beside it Knot, which serves the same records as a static zone and
# has to agree where Consul's habits leave the RFCs alone; and dnsperf, which has to get an answer to everything.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(time sleep);
use Dns;
use Dnsd;
use Node;

my $d = Dnsd->new({ services => {
	web => [map { Dnsd::entry('web', "n$_", "10.0.0.$_", { Port => 80 }) } 1 .. 3],
	six => [Dnsd::entry('six', 'n6', '2001:db8::6', { Port => 80 })],
	consul => [Dnsd::entry('consul', 'n1', '10.0.0.1')],
}, nodes => { map { ("n$_" => { Node => "n$_", Address => "10.0.0.$_" }) } 1 .. 3 } },
	{ dns_config => { service_ttl => { '*' => 9000 }, node_ttl => 9000, enable_additional_node_meta_txt => JSON::PP::false } });
my $q = Dns::query('web.service.consul', 'A', id => 4711);

sub put { my ($p, $at, $bytes) = @_; substr($p, $at, length $bytes) = $bytes; return $p; }
sub raw { my ($p) = @_; return Dns::parse(Dns::udp($d, $p, 10)) // { status => 'none', flags => {}, answer => [], authority => [], additional => [] } }
sub silent { my ($p, $what) = @_; is Dns::udp($d, $p, 0.3), undef, $what }
sub ask { return raw(Dns::query(@_)) }
# An OPT record of any kind: name, type 41, size, rcode, version, flags, data.
sub opt { my (%o) = @_; return ($o{owner} // "\0") . pack 'n n C C n n/a*', 41, $o{size} // 1232, $o{rcode} // 0, $o{version} // 0, $o{flags} // 0, $o{data} // '' }
sub with { my ($p, @more) = @_; return put($p, 10, pack 'n', scalar @more) . join '', @more }
sub option { my ($code, $data) = @_; return pack 'n n/a*', $code, $data }

is ask('web.service.consul', 'A')->{status}, 'NOERROR', 'a warm name';

# ---- RFC 1035, 4.1: header and question

my $r = raw($q);
is $r->{id}, 4711, 'the id comes back';
is $r->{question}, 'web.service.consul.', 'and the question';
is raw(put($q, 2, chr($_ << 3)))->{status}, 'NOTIMP', "opcode $_ is not implemented" for 1 .. 15;
is raw(put($q, 2, chr($_ << 3)))->{opcode}, $_, '... and comes back' for 1, 2, 4, 5, 6;
for my $bits (0x0080, 0x0040, 0x0400, 0x0200, 0x000f, 0x0105) {
	$r = raw(put($q, 2, pack 'n', $bits));
	is $r->{status}, 'NOERROR', sprintf 'bits %04x of a question mean nothing to us', $bits;
	is_deeply [sort keys %{$r->{flags}}], [$bits & 0x100 ? qw(aa qr rd) : qw(aa qr)], '... and are not echoed, RD apart';
}
silent(put($q, 2, "\x80"), 'a response is not answered');
silent(substr($q, 0, $_), "$_ bytes are no message") for 0, 1, 11;
is raw(substr($q, 0, $_))->{status}, 'FORMERR', "cut after $_ bytes" for 12, 13, 20, length($q) - 1;
is raw(put($q, 6, pack 'n', 1) . 'x')->{status}, 'FORMERR', 'an answer in a question, that is not there';
# RFC 9619: there is one question.
is raw(put($q, 4, pack 'n', 2) . substr $q, 12)->{status}, 'FORMERR', 'two questions are a format error, both there';
is raw(put(substr($q, 0, 12), 4, pack 'n', 0))->{status}, 'FORMERR', 'none is one, too';
is raw(put($q, 12, "\xc0\x0c"))->{status}, 'FORMERR', 'a compressed question';
is raw(put($q, 12, chr 0x40))->{status}, 'FORMERR', 'a label of another type (RFC 6891, 5)';
is raw(put($q, 12, chr 0x41))->{status}, 'FORMERR', '... a bit string';
is ask('x' x 63 . '.service.consul', 'A')->{status}, 'NXDOMAIN', 'a label of 63 bytes';
my $long = join('.', ('y' x 61) x 4);
is ask("$long.", 'A')->{status}, 'REFUSED', 'a name of 249 bytes';
is raw(pack('n6', 1, 0, 1, 0, 0, 0) . ("\x3f" . 'y' x 63) x 3 . "\x3d" . 'z' x 61 . "\0" . pack 'n n', 1, 1)->{status}, 'REFUSED', '... of 255';
is raw(pack('n6', 1, 0, 1, 0, 0, 0) . ("\x3f" . 'y' x 63) x 4 . "\0" . pack 'n n', 1, 1)->{status}, 'FORMERR', '... of 257';
# RFC 2181, 11: any byte may stand in a label, and is matched as it is.
is ask("w\xe9b.service.consul", 'A')->{status}, 'NXDOMAIN', 'a byte above 127';
is ask('w' . chr(ord('e') ^ 0x80) . 'b.service.consul', 'A')->{status}, 'NXDOMAIN', '... is not the letter without it';
is ask('WEB[.service.consul', 'A')->{status}, 'NXDOMAIN', 'only letters have a case (RFC 4343): [ is not {';

# ---- classes and types (RFC 1035, 3.2; RFC 2929)

is ask('web.service.consul', 'A', class => 255)->{status}, 'NOERROR', 'class ANY';
is ask('web.service.consul', 'A', class => $_)->{status}, 'REFUSED', "class $_" for 0, 2, 3, 4, 254, 65535;
is ask('web.service.consul', $_)->{status}, 'NOTIMP', "type $_: zones are not handed out" for 251, 252;
for my $type (3, 6, 13, 15, 35, 43, 46, 47, 48, 52, 64, 65, 99, 250, 256, 257, 32769, 65535) {
	$r = ask('web.service.consul', $type);
	is $r->{status}, 'NOERROR', "type $type of a name that is there";
}
is @{ask('web.service.consul', 13)->{answer}}, 0, '... without an answer';

# ---- negative answers (RFC 2308)

for (['nope.service.consul', 'A', 'NXDOMAIN'], ['six.service.consul', 'A', 'NOERROR'], ['web.service.consul', 'MX', 'NOERROR']) {
	$r = ask(@{$_}[0, 1]);
	is $r->{status}, $_->[2], "$_->[2] of $_->[0] $_->[1]";
	is @{$r->{authority}}, 1, '... with one record of authority';
	like $r->{authority}[0], qr/^consul\. 0 SOA .*00000000$/, '... a SOA, min_ttl 0: not to be kept';
	ok $r->{flags}{aa}, '... with authority';
}

# ---- EDNS (RFC 6891)

is raw(with($q, opt()))->{udp}, 1232, 'OPT is answered with OPT';
is raw(with($q, opt(version => $_)))->{rcode}, 16, "version $_ is BADVERS" for 1, 2, 255;
is raw(with($q, opt(version => 1)))->{udp}, 1232, '... with OPT';
is @{raw(with($q, opt(version => 1)))->{answer}}, 0, '... and nothing else';
is raw(with($q, opt(), opt()))->{status}, 'FORMERR', 'two OPT are a format error';
is raw(with($q, opt(owner => "\1x\0")))->{status}, 'FORMERR', 'OPT of another name than the root';
is @{raw(with($q, opt(size => $_)))->{answer}}, 3, "a size of $_ means 512" for 0, 1, 511;
is raw(with($q, opt(flags => 0xffff)))->{status}, 'NOERROR', 'all flags set';
is raw(with($q, opt(data => option($_, 'abcdefgh'))))->{status}, 'NOERROR', "an option that means nothing to us ($_)" for 1, 3, 5, 6, 7, 9, 11, 12, 13, 14, 15, 20, 65001, 65535;
is raw(with($q, opt(data => option(10, 'x' x 8))))->{status}, 'NOERROR', 'a cookie';
is raw(with($q, opt(data => "\0\1\0")))->{status}, 'FORMERR', 'half an option';
is raw(with($q, opt(data => "\0\1\xff\xff")))->{status}, 'FORMERR', 'an option that is longer than its record';
is raw(put(with($q, opt()), length($q) + 9, "\xff\xff"))->{status}, 'FORMERR', 'OPT that is longer than the message';
is raw(put($q, 10, pack 'n', 1))->{status}, 'FORMERR', 'a record that is counted and missing';
# Other records beside OPT are legal, wherever it stands (6.1.1).
my $a = "\0" . pack 'n n N n/a*', 1, 1, 0, "\x0a\0\0\1";
is raw(with($q, $a, opt()))->{udp}, 1232, 'OPT behind another record';
is raw(with($q, opt(), $a))->{udp}, 1232, '... before it';
# The client's subnet (RFC 7871, 7.1.2).
my %ecs = ("\0\1\x18\0\x0a\0\0" => 'NOERROR', "\0\1\0\0" => 'NOERROR', "\0\2\x38\0\x20\1\x0d\xb8\0\0\0" => 'NOERROR', "\0\1\x18\1\x0a\0\0" => 'FORMERR',
	"\0\1\x21\0\x0a\0\0\1\0" => 'FORMERR', "\0\1\x18\0\x0a\0" => 'FORMERR', "\0\1\x18\0\x0a\0\0\0" => 'FORMERR', "\0\1\x14\0\x0a\0\x0f" => "NOERROR", "\0" => 'FORMERR');
is raw(with($q, opt(data => option(8, $_))))->{status}, $ecs{$_}, 'subnet ' . unpack('H*', $_) . ": $ecs{$_}" for sort keys %ecs;
# TSIG and SIG(0) are not spoken (RFC 8945, 5.2): passed over, never echoed.
$r = raw(with($q, "\1k\0" . pack 'n n N n/a*', 250, 255, 0, 'x' x 30));
like $r->{status}, qr/^(NOERROR|FORMERR|NOTAUTH|REFUSED|9)$/, 'a signature';
is @{$r->{additional}}, 0, '... is not echoed';

# ---- TCP (RFC 7766)

my $s = Dns::socket_tcp($d);
print $s Dns::tcp_frame($q);
is Dns::parse(Dns::tcp_read($s))->{id}, 4711, 'a question over TCP';
print $s Dns::tcp_frame($q);
ok Dns::tcp_read($s), '... and another over the same connection';
$s = Dns::socket_tcp($d);
print $s Dns::tcp_frame(substr $q, 0, 13), Dns::tcp_frame($q);
is Dns::parse(Dns::tcp_read($s))->{status}, 'FORMERR', 'a bad one over TCP is answered';
is Dns::parse(Dns::tcp_read($s))->{status}, 'NOERROR', '... and the next one, too';
is @{Dns::parse(do { my $t = Dns::socket_tcp($d); print $t Dns::tcp_frame(with($q, opt(size => 0))); Dns::tcp_read($t) })->{answer}}, 3,
	'the UDP size means nothing there';

# ---- minimal ANY (RFC 8482) is a switch, and the answer goes to where the question came from

is scalar(@{ask('web.service.consul', 'ANY')->{answer}}), 3, 'ANY: what there is';
my $from = Dns::socket_udp($d);
$from->send($q);
IO::Select->new($from)->can_read(10);
my $peer = $from->recv(my $buffer, 65535);
is length $buffer, length(Dns::udp($d, $q)), 'the answer comes from where the question went';

# ---- Knot, with the same names as a static zone

SKIP: {
	my ($knotd) = grep { -x } '/usr/sbin/knotd', '/usr/local/sbin/knotd';
	skip 'knot is not installed', 1 if !$knotd;
	my $port = Node::_free_port($d->{ip});
	my $dir = $d->{dir};
	my $soa = '$TTL 9' . "\n\@ 0 IN SOA ns.consul. hostmaster.consul. 1 3600 600 86400 0\n\@ IN NS n1.node.dc1.consul.\n";
	my $zone = join '', $soa, (map { "web.service IN A 10.0.0.$_\nn$_.node IN A 10.0.0.$_\nn$_.node.dc1 IN A 10.0.0.$_\nweb.service IN SRV 1 1 80 n$_.node.dc1.consul.\n" } 1 .. 3),
		"six.service IN AAAA 2001:db8::6\n";

	mkdir "$dir/knot";
	Node::write_file("$dir/knot/consul.zone", $zone);
	Node::write_file("$dir/knot/knot.conf", "server:\n  rundir: $dir/knot\n  listen: $d->{ip}\@$port\n  udp-workers: 1\n  tcp-workers: 1\n" .
		"log:\n- target: stderr\n  any: warning\ndatabase:\n  storage: $dir/knot\nzone:\n- domain: consul\n  file: $dir/knot/consul.zone\n  storage: $dir/knot\n  zonefile-sync: -1\n  journal-content: none\n");
	my $pid = fork // die;
	if ($pid == 0) {
		open STDERR, '>', "$dir/knot/log";
		open STDOUT, '>&', \*STDERR;
		exec $knotd, '-c', "$dir/knot/knot.conf" or POSIX::_exit(126);
	}
	my $k = { ip => $d->{ip}, ports => { dns => $port } };
	my $up = $d->wait_for(sub { my $p = Dns::udp($k, $q, 0.5); defined $p && length $p > 12 && Dns::parse($p)->{status} eq 'NOERROR' }, 20);
	if (!$up) {
		diag Node::_slurp("$dir/knot/log");
		kill KILL => $pid;
		waitpid $pid, 0;
		skip 'knot does not run here', 1;
	}
	# What is compared: all that a resolver goes by. Consul's own: SOA's serial, and glue that Knot adds as it likes.
	my $summary = sub {
		my ($who, $packet) = @_;
		my $bytes = Dns::udp($who, $packet, 10) // return 'none';
		my $x = Dns::parse($bytes);
		my @answer = sort map { lc } @{$x->{answer}};
		my @authority = map { (split)[2] } @{$x->{authority}};
		my %flags = %{$x->{flags}};

		return join ' | ', $x->{id}, $x->{rcode}, join(',', sort keys %flags), $x->{question}, defined $x->{udp} ? 'opt' : 'no opt', "@answer", "@authority";
	};
	my (@differ, $same);
	for my $name (qw(web.service.consul WeB.SeRvIcE.cOnSuL six.service.consul nope.service.consul n1.node.consul n2.node.dc1.consul), 'a.b.c.nope.service.consul', 'www.example.org', '.') {
		for my $type (qw(A AAAA SRV MX), 257, 65280) {
			next if $name =~ /^n\d|^six/i && $type ne 'A' && $type ne 'AAAA'; # nodes have no SOA then: Consul's habit
			next if $name =~ /^n\d/ && $type eq 'AAAA';
			for my $packet (Dns::query($name, $type, id => 77), Dns::query($name, $type, id => 78, edns => 1232), Dns::query($name, $type, id => 79, flags => 0)) {
				my ($ours, $theirs) = ($summary->($d, $packet), $summary->($k, $packet));
				if ($ours eq $theirs) { $same++ } else { push @differ, "$name $type:\n  $ours\n  $theirs" }
			}
		}
	}
	is scalar(@differ), 0, "Knot answers the same ($same questions)" or diag join "\n", @differ[0 .. ($#differ < 9 ? $#differ : 9)];
	# Malformed ones: the rcode.
	my %odd = ('two questions' => put($q, 4, pack 'n', 2) . substr($q, 12), 'no question' => substr(put($q, 4, "\0\0"), 0, 12), 'two OPT' => with($q, opt(), opt()),
		'version 1' => with($q, opt(version => 1)), 'opcode 4' => put($q, 2, chr(4 << 3)), 'opcode 2' => put($q, 2, chr(2 << 3)), 'cut' => substr($q, 0, 20),
		'half an option' => with($q, opt(data => "\0\1\0")), 'class CH' => Dns::query('web.service.consul', 'A', class => 3));
	my @other;
	for (sort keys %odd) {
		my @rc;
		for my $who ($d, $k) {
			my $p = Dns::udp($who, $odd{$_}, 1);
			push @rc, defined $p ? Dns::parse($p)->{rcode} : 'silence';
		}
		push @other, "$_: $rc[0], Knot $rc[1]" if $rc[0] ne $rc[1];
	}
	note join "\n", 'where Knot refuses otherwise:', @other;
	cmp_ok scalar(@other), '<', keys(%odd) / 2, 'what is malformed is mostly refused alike';
	kill TERM => $pid;
	waitpid $pid, 0;
}

# ---- dnsperf: every question has its answer

SKIP: {
	my ($dnsperf) = grep { -x } '/usr/bin/dnsperf', '/usr/local/bin/dnsperf';
	skip 'dnsperf is not installed', 3 if !$dnsperf;
	Node::write_file("$d->{dir}/queries", join '', map { "$_\n" } 'web.service.consul A', 'web.service.consul SRV', 'n1.node.consul A', 'nope.service.consul A',
		'7f000001.addr.consul A', 'consul SOA', 'consul NS', 'web.service.consul MX');
	for my $mode ('udp', 'tcp') {
		my ($rc, $out) = Node::_run({}, $dnsperf, '-s', $d->{ip}, '-p', $d->{ports}{dns}, '-d', "$d->{dir}/queries", '-l', 2, '-c', 8, '-q', 64, '-m', $mode);
		my ($sent) = $out =~ /Queries sent:\s+(\d+)/;
		my ($done) = $out =~ /Queries completed:\s+(\d+)/;
		cmp_ok $sent // 0, '>', 500, "dnsperf over $mode: questions";
		cmp_ok $done // 0, '>=', ($sent // 1) * 0.999, '... are answered';
		like $out, qr/NXDOMAIN \d+ \(1[12]\.\d+%\)/, '... as they should be';
	}
}

ok $d->stop('TERM') == 0, 'it ends well';
unlike $d->log, qr/Sanitizer|runtime error/, '... and clean';
done_testing;
