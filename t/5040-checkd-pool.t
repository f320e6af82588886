#!/usr/bin/perl
# What checkd does with the gossip pool: servers that appear, its size, and this node's coordinate. raftd and gossipd are this script.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use File::Temp ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $slice = {
	node_name => 'c1', node_id => 'aaaaaaaa-0000-0000-0000-000000000001', datacenter => 'dc1', dev_mode => JSON::PP::true,
	server => JSON::PP::false, advertise_addr => '10.0.0.1', tagged_addresses => { lan => '10.0.0.1' }, log_level => 'DEBUG',
	services => [{ Name => 'web', Port => 80 }],
};
my @vec = (0.5, 0, 0, 0, 0, 0, 0, -0.25);

sub member
{
	my ($name, $role, $status) = @_;

	return { Name => $name, Addr => '10.0.0.1', Port => 8301, Tags => { role => $role }, Status => $status };
}

# One with floats, which Frame does not write.
sub coordinate
{
	my $s = sub { pack('C', 0xa0 + length $_[0]) . $_[0] };
	my $f = sub { pack('Cd>', 0xcb, $_[0]) };

	return "\x83" . $s->('Node') . $s->('x') . $s->('Segment') . $s->('') . $s->('Coord') . "\x84" . $s->('Vec') . "\x98" .
		join('', map { $f->($_) } @vec) . $s->('Error') . $f->(1.5) . $s->('Adjustment') . $f->(0) . $s->('Height') . $f->(0.00001);
}

# A client whose servers are not there yet.
my $tmp = File::Temp->newdir("checkd-$$-XXXXXX", TMPDIR => 1);
my $no_servers = sub { { error => 500, text => 'No known Consul servers' } };
my @members = (member('c1', 'node', 1));
my $f = FakeDaemons->new("$tmp",
	raftd => { map { $_ => $no_servers } qw(catalog.node_services health.node catalog.register coordinate.update) },
	gossipd => {
		'gossip.size' => sub { [scalar(@members), 1] },
		'gossip.members' => sub { my ($o) = @_; return ($o->{MinIndex} // 0) == 0 ? [[@members], 7] : undef },
		'gossip.coordinates' => sub { { raw => "\x80\x91" . coordinate() } },
	});
my $d = Frame::Daemon->new('checkd', $slice, tmp => $tmp, ready => 0);
my $begun = time;
ok($f->serve(sub { $d->log =~ /failed to sync remote state: error="No known Consul servers"/ }), 'a catalog that is away is told');
ok($f->serve(sub { $f->waiting('gossip.members') }), 'and the pool is watched');
is(($f->waiting('gossip.members'))[0]{o}{MinIndex}, 7, 'behind what is known');

# Past the quick attempts of a start, which double from a quarter of a second up to fifteen.
my $attempts = sub { scalar $f->requests('catalog.node_services') };
ok($f->serve(sub { $attempts->() >= 5 }), 'it is tried again, and again');
my $catalog = { 'catalog.node_services' => sub { \{ Node => undef, Services => [] } }, 'health.node' => sub { \[] },
	'catalog.register' => sub { \JSON::PP::true }, 'coordinate.update' => sub { \undef } };
$f->play('raftd', $catalog);
my $before = $attempts->();
@members = (@members, member('c2', 'node', 1), member('s1', 'consul', 4));
$f->answer(($f->waiting('gossip.members'))[0], [@members], 8);
ok($f->serve(sub { my ($w) = $f->waiting('gossip.members'); $w && $w->{o}{MinIndex} == 8 }), 'a client and a failed server change nothing but the index');
$members[2] = member('s1', 'consul', 1);
my $appeared = time;
$f->answer(($f->waiting('gossip.members'))[0], [@members], 9);
ok($f->serve(sub { $d->log =~ /Synced service: service=web/ }), 'a server that appears is told of the services');
cmp_ok(time - $appeared, '<', 4.5, 'within three seconds');
ok($f->serve(sub { !$f->waiting('gossip.members') }), 'then the pool is watched no longer');
my ($w) = $f->requests('catalog.register');
is_deeply([@{$w->{q}}{qw(ID Node Address Datacenter)}], [$slice->{node_id}, 'c1', '10.0.0.1', 'dc1'], 'the node registers itself with them');
ok(!$w->{q}{SkipNodeUpdate}, 'whatever the leader knows of it');

# Gossipd's trouble is not ours.
ok(scalar($f->requests('gossip.size')) >= 1, 'the size of the pool was asked for');
is($d->log =~ /panic|malformed/ ? 1 : 0, 0, 'nothing is amiss');

# The coordinate: not before 15 seconds, nor after 30 in a small pool.
ok($f->serve(sub { $f->requests('coordinate.update') }, 60), 'the coordinate is sent');
my ($u) = $f->requests('coordinate.update');
cmp_ok($u->{at} - $begun, '>=', 15, 'not at once');
cmp_ok($u->{at} - $begun, '<', 45, 'but soon');
is($u->{q}{Node}, 'c1', 'under our own name');
is_deeply($u->{q}{Coord}{Vec}, \@vec, 'as gossipd has it');
is($u->{q}{Coord}{Error}, 1.5, 'with its error');
my ($own) = $f->requests('gossip.coordinates');
ok($own->{q}{Own}, 'only our own was asked for');
is($d->stop, 0, 'a clean end');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
done_testing;
