#!/usr/bin/perl
# Views: the first question waits for raftd, later ones do not need it; errors
# of raftd, names that do not exist and floods of them, staleness, the end.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use Time::HiRes qw(sleep time);
use Dns;
use Dnsd;

my %web = (services => { web => [Dnsd::entry('web', 'n1', '10.0.0.1')], consul => [Dnsd::entry('consul', 'n1', '10.0.0.1')] },
	nodes => { n1 => { Node => 'n1', Address => '10.0.0.1' } });
my $d = Dnsd->new(\%web, {}, no_raftd => 1);

sub status { return (Dns::ask($d, @_) // { status => 'none' })->{status}; }

# ---- without raftd

my $t = time;
is status('web.service.consul', 'A'), 'SERVFAIL', 'without raftd a new name is an error';
cmp_ok time - $t, '>', 1.5, '... after some patience';
cmp_ok time - $t, '<', 4, '... that has an end';
is status('7f000001.addr.consul', 'A'), 'NOERROR', 'what needs no raftd is answered';
is status('x.consul', 'A'), 'NXDOMAIN', '... and refused';
my $s = Dns::socket_udp($d);
$s->send(Dns::query('web.service.consul', 'A'));
sleep 0.2;
$d->raftd;
ok(IO::Select->new($s)->can_read(5), 'a question that waits is answered when raftd comes');
$s->recv(my $reply, 4096);
is Dns::parse($reply)->{answer}[0], 'web.service.consul. 0 A 10.0.0.1', '... with what it knows';

# ---- with raftd

is status('n1.node.consul', 'A'), 'NOERROR', 'a node';
is status('web.service.dc9.consul', 'A'), 'NXDOMAIN', 'no path to a datacenter: no such name';
is status('broken.service.consul', 'A'), 'SERVFAIL', 'an error of raftd is an error';
is status('nope.service.consul', 'A'), 'NXDOMAIN', 'an unknown name' for 1 .. 2;
is $d->info->{views}, 2, 'two names are known';
$web{services}{nope} = [Dnsd::entry('nope', 'n1', '10.0.0.9')];
$web{services}{web} = [Dnsd::entry('web', 'n1', '10.0.0.2')];
$d->data(\%web);
ok $d->wait_for(sub { Dns::ask($d, 'web.service.consul', 'A')->{answer}[0] =~ /10\.0\.0\.2$/ }, 5), 'a change is told';
ok $d->wait_for(sub { status('nope.service.consul', 'A') eq 'NOERROR' }, 5), '... of a name that did not exist, too';
for my $i (3 .. 60) {
	$web{services}{web} = [Dnsd::entry('web', 'n1', "10.0.0.$i")];
	$d->data(\%web);
	sleep 0.01;
}
ok $d->wait_for(sub { Dns::ask($d, 'web.service.consul', 'A')->{answer}[0] =~ /10\.0\.0\.60$/ }, 5), 'the last of many quick changes';

# ---- raftd away

$d->kill_raftd;
ok $d->wait_for(sub { $d->info->{raftd} eq 'away' }, 5), 'raftd has gone';
is status('web.service.consul', 'A'), 'NOERROR', 'a warm name is answered';
is status('web.service.consul', 'SRV'), 'NOERROR', '... for another type as well';
ok $d->wait_for(sub { $d->info->{views_stale} > 0 }, 5), 'its view is marked stale';
$d->reload({ dns_config => { max_stale => 100 } });
sleep 0.2;
is status('web.service.consul', 'A'), 'SERVFAIL', 'but not beyond max_stale';
$d->reload({ dns_config => { max_stale => 3600000 } });
is status('web.service.consul', 'A'), 'NOERROR', '... which a reload changes';
$d->reload({ dns_config => { allow_stale => JSON::PP::false } });
is status('web.service.consul', 'A'), 'SERVFAIL', 'nor without allow_stale';
$d->reload({ dns_config => {} });
# The next one begins anew: its index is below the one that we watched for.
$web{services}{web} = [Dnsd::entry('web', 'n1', '10.0.1.1')];
$d->data(\%web);
$d->raftd;
ok $d->wait_for(sub { Dns::ask($d, 'web.service.consul', 'A')->{answer}[0] =~ /10\.0\.1\.1$/ }, 5), 'another raftd is believed';
ok $d->wait_for(sub { $d->info->{views_stale} == 0 }, 10), '... and nothing is stale any more';
$web{services}{web} = [Dnsd::entry('web', 'n1', '10.0.1.2')];
$d->data(\%web);
ok $d->wait_for(sub { Dns::ask($d, 'web.service.consul', 'A')->{answer}[0] =~ /10\.0\.1\.2$/ }, 5), '... and watched';

# ---- reloads

is +($d->reload({ dns_config => { service_ttl => { web => 5000 } } }))[1], '', 'a reload that needs no restart';
is Dns::ask($d, 'web.service.consul', 'A')->{answer}[0], 'web.service.consul. 5 A 10.0.1.2', '... takes effect at once';
my ($meta, $text) = $d->reload({ domain => 'other.', ports => { dns => 1 } });
is $text, 'domain ports.dns', 'what needs one is named';
is status('web.service.consul', 'A'), 'NOERROR', '... and stays as it was';
$d->reload({ domain => 'consul.', ports => $d->{ports}, acl => { tokens => { default => 'secret' } } });
is status('web.service.consul', 'A'), 'NOERROR', 'another token: asked anew, and answered';

# ---- a flood of names

my $sock = Dns::socket_udp($d);
my ($sent, $got) = (0, 0);
while ($got < 3000 && $sent < 6000) {
	for (1 .. 50) {
		$sock->send(Dns::query("flood$sent-" . int(rand 1e9) . '.service.consul', 'A'));
		$sent++;
	}
	while (IO::Select->new($sock)->can_read($sent - $got >= 50 ? 1 : 0)) {
		$sock->recv($reply, 4096);
		$got++ if Dns::parse($reply)->{status} eq 'NXDOMAIN';
		last if $got == $sent;
	}
}
cmp_ok $got, '>=', 3000, 'a flood of random names is answered';
cmp_ok $d->info->{views_unknown}, '<=', 1024 * $d->info->{workers}, '... and leaves little behind';
is status('web.service.consul', 'A'), 'NOERROR', '... and the known ones alone';

# ---- metrics, and the end

my %metric = map { $_->{Name} => $_ } @{($d->ask('daemon.metrics'))[1]};
cmp_ok $metric{'dns.domain_query;node=n1'}{TotalCount} // 0, '>', 3000, 'questions are counted';
$d->kill_raftd;
$sock->send(Dns::query('late.service.consul', 'A'));
ok $d->wait_for(sub { $d->info->{questions_waiting} == 1 }, 5), 'a question waits';
$t = time;
is $d->stop('TERM'), 0, 'SIGTERM ends it well';
cmp_ok time - $t, '<', 2.5, '... within its deadline';
done_testing;
