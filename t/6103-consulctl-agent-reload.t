#!/usr/bin/perl
# consulctl agent: SIGHUP and the reload operation. A refused configuration changes nothing; what needs a restart is named.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $n = Node->new(wait => 'agent');
my %before = $n->pids;

sub slices { return join "\0", map { Node::_slurp($_) } sort glob "$n->{data_dir}/run/config/*"; }

# ---- a change that all apply

my $slices = slices();
$n->reload({ log_level => 'info' });
ok $n->wait_log(qr/agent: Configuration reloaded/), 'SIGHUP reads the configuration again';
isnt slices(), $slices, 'daemons got new slices';
is join(' ', map { sprintf '%04o', (stat)[2] & 07777 } glob "$n->{data_dir}/run/config/*"), '0600 0600 0600 0600 0600', 'as private as before';
my %after = $n->pids;
is_deeply \%after, \%before, 'no daemon was started again';

# ---- one that is wrong

$slices = slices();
Node::write_file("$n->{dir}/config.json", '{"log_level": "info", "bogus": 1}');
$n->signal('HUP');
ok $n->wait_log(qr/agent: Reload config failed: error=".*bogus/), 'a wrong one is refused, and the log says why';
is slices(), $slices, 'nothing has changed';
%after = $n->pids;
is_deeply \%after, \%before, 'and everything runs on';
my ($status, undef, $body) = $n->http('PUT', '/v1/agent/reload');
is $status, 500, 'over HTTP: 500';
like $body, qr/bogus/, 'with the reason';

# ---- one that needs a restart

$n->reload({ ports => { http => $n->{ports}{http} + 1 } });
ok $n->wait_log(qr/\[WARN\]  agent: Changes need a restart of the agent: keys=".*ports/), 'keys that need a restart are named';
ok $n->wait_for(sub { ($n->http('GET', '/v1/status/leader'))[0] == 200 }), 'and keep their old value';

# ---- slices that cannot be written

$n->write_config({ ports => { http => $n->{ports}{http} }, log_level => 'debug' });
rename "$n->{data_dir}/run/config", "$n->{data_dir}/run/away" or die;
$n->signal('HUP');
ok $n->wait_log(qr/Reload config failed: error="cannot write/), 'slices that cannot be written: refused';
rename "$n->{data_dir}/run/away", "$n->{data_dir}/run/config" or die;
unlike slices(), qr/"log_level":"debug"/, 'and nothing has changed';
ok $n->running, 'everything runs on';

# ---- many at once

$n->signal('HUP') for 1 .. 20;
is(($n->http('PUT', '/v1/agent/reload'))[0], 200, 'a reload among many is answered');
like slices(), qr/"log_level":"debug"/, 'and done';
ok $n->running, 'and the agent runs on';

done_testing;
