#!/usr/bin/perl
# Anti-entropy in batches: how many writes a node's services take, what becomes of those that are refused, and tags that belong to others.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use File::Temp ();
use JSON::PP ();
use Test::More;

my $N = 1200;
my $tmp = File::Temp->newdir("checkd-$$-XXXXXX", TMPDIR => 1);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $own = { ID => 'own', Name => 'own', Port => 1, Tags => ['mine'], EnableTagOverride => $true, Check => { TTL => '1h' } };
my $slice = {
	node_name => 'n1', node_id => 'aaaaaaaa-0000-0000-0000-000000000001', datacenter => 'dc1', dev_mode => $true,
	advertise_addr => '10.0.0.1', tagged_addresses => { lan => '10.0.0.1' }, log_level => 'DEBUG',
	services => [$own, map { { Name => sprintf('s%04d', $_), Port => $_, Check => { TTL => '1h' } } } 1 .. $N],
};

# ---- a catalog that this script keeps
my (%services, %checks, $refuse);
my $f = FakeDaemons->new("$tmp",
	gossipd => { 'gossip.size' => sub { \1 }, 'gossip.members' => sub { undef }, 'gossip.coordinates' => sub { \[] } },
	raftd => {
		'coordinate.update' => sub { \undef },
		'catalog.node_services' => sub { \{ Node => { Node => 'n1', ID => $slice->{node_id}, TaggedAddresses => $slice->{tagged_addresses},
			Meta => { 'consul-network-segment' => '' } }, Services => [map { $services{$_} } sort keys %services] } },
		'health.node' => sub { \[map { $checks{$_} } sort keys %checks] },
		'catalog.register' => sub {
			my ($o, $q) = @_;
			my ($s) = @{$q->{Service} // []};
			my $no = $refuse ? $refuse->($s, $q) : undef;

			return $no if $no;
			$services{$s->{ID}} = $s if $s;
			$checks{$_->{CheckID}} = $_ for @{$q->{Check} // []}, @{$q->{Checks} // []};
			return \$true;
		},
		'catalog.deregister' => sub { my ($o, $q) = @_; delete $services{$q->{ServiceID} // ''}; delete $checks{$q->{CheckID} // ''}; return \$true },
	});
my $d = Frame::Daemon->new('checkd', $slice, tmp => $tmp, ready => 0);
my $written = sub { my ($id) = @_; return grep { ($_->{q}{Service}[0]{ID} // '') eq $id } $f->requests('catalog.register') };
sub fresh { $f->{requests} = []; }

ok($f->serve(sub { keys %services >= $N + 1 }, 60), 'all services are written');
my @batches = $f->requests('catalog.batch');
cmp_ok(scalar @batches, '<=', 4, 'in few writes');
is((grep { @{$_->{q}{Items}} > 512 } @batches), 0, 'none of which is larger than one may be');
is(scalar(grep { $_->{q}{Checks} } $f->requests('catalog.register')), $N + 1, 'each with its check');
is(scalar(keys %checks), $N + 1, 'which the catalog then has');
$f->serve(sub { $d->log =~ /Synced service: service=s1200/ });

# ---- many changes at a time
$d->connect;
fresh();
my @id = map { $d->start('agent.check_update', { CheckID => sprintf('service:s%04d', $_), Status => 'passing', Output => 'x' }) } 1 .. 200;
ok($f->serve(sub { (grep { $_->{Status} eq 'passing' } values %checks) >= 200 }), 'the states of 200 checks change');
cmp_ok(scalar($f->requests('catalog.batch')), '<', 100, 'in fewer writes than there are changes');
$d->reply for @id;

# ---- refused ones hold up nobody
fresh();
$refuse = sub {
	my ($s) = @_;

	return { error => 403, text => 'Permission denied' } if $s && $s->{Service} =~ /^denied/;
	return undef;
};
$d->write_slice({ %$slice, services => [@{$slice->{services}}, { Name => 'denied', Check => { TTL => '1h' } }, { Name => 'allowed', Check => { TTL => '1h' } }] });
$d->start('daemon.reload');
ok($f->serve(sub { $services{allowed} && $d->log =~ /registration blocked by ACLs: service=denied error="Permission denied"/ }), 'one is denied, the other is not');
ok(!$services{denied}, 'so it is not there');
$d->reply;
$d->start('agent.check_update', { CheckID => 'service:denied', Status => 'passing', Output => '' });
$d->start('agent.check_update', { CheckID => 'service:allowed', Status => 'passing', Output => '' });
ok($f->serve(sub { ($checks{'service:allowed'} // {})->{Status} eq 'passing' }), 'the check of the one goes there');
$d->reply for 1 .. 2;
is(scalar(grep { map { $_->{CheckID} eq 'service:denied' ? 1 : () } @{$_->{q}{Check} // []} } $f->requests('catalog.register')), 0, 'that of the other is not tried without its service');
is(() = $d->log =~ /\[WARN\].*service=denied/g, 1, 'which was told once');

# ---- tags of others
is($d->stop, 0, 'SIGTERM');
delete @services{grep { /^s\d/ } keys %services};
delete @checks{grep { /^service:s\d/ } keys %checks};
$slice->{services} = [$own];
$services{own} = { %{$services{own}}, Tags => ['theirs'], Port => 99 };
$checks{'service:own'}{ServiceTags} = ['theirs'];
$services{stranger} = { %{$services{own}}, ID => 'stranger', Service => 'stranger' };
delete $services{$_} for qw(allowed denied);
delete $checks{$_} for qw(service:allowed service:denied);
fresh();
$d->write_slice($slice);
$d->spawn;
ok($f->serve(sub { $services{own}{Port} == 1 && !$services{stranger} }), 'a restart corrects the port, and takes out what it does not know');
is_deeply($services{own}{Tags}, ['theirs'], 'but keeps the tags that belong to others');
is(scalar($f->requests('catalog.batch')), 1, 'in one write');
$f->serve(sub { $d->log =~ /Synced service: service=own/ });
$d->connect;
my $tags = sub { my $r; $d->start('agent.services', {}); $f->serve(sub { 1 }); (undef, undef, $r) = $d->reply; return $r->{own}{Tags} };
is_deeply($tags->(), ['theirs'], 'the agent shows them');
fresh();
$d->write_slice({ %$slice, node_meta => { changed => 'yes' } });
$d->start('daemon.reload');
$f->serve(sub { grep { ($_->{q}{NodeMeta}{changed} // '') eq 'yes' } $f->requests('catalog.register') });
$d->reply;
is_deeply($tags->(), ['theirs'], 'also behind a reload of the same definition');
is(scalar($written->('own')), 0, 'which writes it no more');
$d->write_slice({ %$slice, services => [{ %$own, Port => 2, Tags => ['new'] }] });
$d->start('daemon.reload');
ok($f->serve(sub { $services{own}{Port} == 2 }), 'another definition is written');
$d->reply;
is_deeply($services{own}{Tags}, ['new'], 'as it is');
is($d->stop, 0, 'a clean end');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');
done_testing;
