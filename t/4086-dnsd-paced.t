#!/usr/bin/perl
# Many warm names and a raftd that comes back: it is asked a bounded number of
# them at a time, those that somebody waits for first, and in the end all.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Dns;
use Dnsd;
use FakeDaemons;

use constant NAMES => 400;
my $d = Dnsd->new({}, { dns_config => { workers => 1 } }, no_raftd => 1);
my $address = '10.0.0.1';
my @seen;	# the questions in their order: 'ask' or 'watch'

sub told
{
	my ($o, $q) = @_;
	my $name = $q->{Service} // return \undef;

	push @seen, $o->{MinIndex} ? "watch $name" : "ask $name";
	return undef if $o->{MinIndex};
	return [$name eq 'nobody' ? [] : [Dnsd::entry($name, 'n1', $address)], 5];
}
my %raftd = ('health.service' => \&told, 'catalog.reverse' => sub { \undef }, 'catalog.node' => sub { \undef });
my $f = FakeDaemons->new($d->{dir}, raftd => { %raftd });

my $s = Dns::socket_udp($d);
my %got;
sub take
{
	while (IO::Select->new($s)->can_read(0)) {
		$s->recv(my $p, 4096);
		my $r = Dns::parse($p);
		$got{$r->{id}} = join ' ', $r->{status}, map { (split)[3] } @{$r->{answer}};
	}
}

# Questions about these names; how many got this answer, as soon as all have one.
sub asked
{
	my ($want, @n) = @_;
	my @left = @n;

	%got = ();
	# Few at a time: neither our socket nor dnsd's list of those that wait is without end.
	while (my @some = splice @left, 0, 50) {
		$s->send(Dns::query("svc$_.service.consul", 'A', id => $_)) for @some;
		$f->serve(sub { take(); !grep { !exists $got{$_} } @some }) or last;
	}
	return scalar grep { ($got{$_} // '') eq $want } @n;
}

my @all = 1 .. NAMES;
is asked('NOERROR 10.0.0.1', @all), NAMES, 'all names are warm';
ok $f->serve(sub { NAMES == grep { /^watch/ } @seen }), '... and watched';

$f->end('raftd');
ok $d->wait_for(sub { $d->info->{raftd} eq 'away' }), 'raftd has gone';
is asked('NOERROR 10.0.0.1', @all), NAMES, '... and all names are answered';

@seen = ();
$address = '10.0.0.2';
$s->send(Dns::query('cold.service.consul', 'A', id => 9999));
delete $got{9999};
$f->play('raftd', { %raftd });
ok $f->serve(sub { take(); exists $got{9999} }), 'a name that somebody waits for is answered when it is back';
ok $f->serve(sub { my %w = map { $_ => 1 } grep { /^watch svc/ } @seen; NAMES == keys %w }), '... and all others are watched again';
my ($first) = grep { $seen[$_] =~ /^watch/ } 0 .. $#seen;
cmp_ok $first, '<', 200, "... after they were asked some at a time ($first before the first answer)";
is asked('NOERROR 10.0.0.2', @all), NAMES, '... and tell what is new';
is $d->stop('TERM'), 0, 'SIGTERM ends it well';
done_testing;
