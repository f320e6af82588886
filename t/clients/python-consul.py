"""All calls of python-consul with what it must make of our answers; prints TAP."""
import base64
import sys
import threading
import time

import consul

HOST, PORT, OTHER, OTHER_SERF = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
c = consul.Consul(host=HOST, port=PORT)
count = 0
failed = 0


def ok(value, what, *shown):
    global count, failed
    count += 1
    print('%sok %d - %s' % ('' if value else 'not ', count, what), flush=True)
    if not value:
        failed += 1
        for s in shown:
            print('# %r' % (s,), flush=True)


def same(got, want, what):
    ok(got == want, what, got, want)


def raises(kind, what, call, *args, **kwargs):
    try:
        got = call(*args, **kwargs)
    except kind as e:
        ok(True, what)
        return str(e)
    except Exception as e:      # shown, not hidden: the test fails
        ok(False, what, e)
        return ''
    ok(False, what, got)
    return ''


def wait_for(call, what, seconds=30):
    end = time.time() + seconds
    value = call()
    while not value and time.time() < end:
        time.sleep(0.05)
        value = call()
    ok(value, what, value)
    return value


def later(call, *args, **kwargs):
    """Run a call while the caller waits for what it changes."""
    def run():
        time.sleep(0.3)
        call(*args, **kwargs)
    t = threading.Thread(target=run)
    t.start()
    return t


def status():
    same(c.status.leader().split(':')[0], HOST, 'status.leader')
    same(c.status.peers(), [c.status.leader()], 'status.peers')


def kv():
    index, data = c.kv.get('nothing')
    same(data, None, 'kv.get of nothing')
    ok(int(index) > 0, 'has an index', index)
    same(c.kv.put('a/one', 'first'), True, 'kv.put')
    same(c.kv.put('a/two', b'\x00\xff\x80'), True, 'kv.put of bytes')
    same(c.kv.put('a/three', 'grüße'.encode(), flags=2 ** 64 - 1), True, 'kv.put with flags')
    index, data = c.kv.get('a/two')
    same(data['Value'], b'\x00\xff\x80', 'the bytes come back')
    same(sorted(data), ['CreateIndex', 'Flags', 'Key', 'LockIndex', 'ModifyIndex', 'Value'], 'its fields')
    same(c.kv.get('a/three')[1]['Flags'], 2 ** 64 - 1, 'the flags too')
    same([e['Key'] for e in c.kv.get('a/', recurse=True)[1]], ['a/one', 'a/three', 'a/two'], 'recurse')
    same(c.kv.get('', keys=True, separator='/')[1], ['a/'], 'keys with a separator')
    same(c.kv.get('a/', keys=True)[1], ['a/one', 'a/three', 'a/two'], 'keys')
    same(c.kv.put('a/one', 'x', cas=0), False, 'cas=0 of what is there')
    same(c.kv.put('a/new', 'x', cas=0), True, 'cas=0 of what is not')
    index, data = c.kv.get('a/one')
    same(c.kv.put('a/one', 'second', cas=data['ModifyIndex']), True, 'cas')
    same(c.kv.put('a/one', 'third', cas=data['ModifyIndex']), False, 'cas again')
    t = later(c.kv.put, 'a/one', 'woken')
    index, data = c.kv.get('a/one', index=c.kv.get('a/one')[0], wait='20s')
    t.join()
    same(data['Value'], b'woken', 'a blocking get wakes')
    t = later(c.kv.put, 'a/late', 'woken')
    data = c.kv.get('a/', recurse=True, index=c.kv.get('a/', recurse=True)[0], wait='20s')[1]
    t.join()
    ok('a/late' in [e['Key'] for e in data], 'a blocking recurse too', data)
    began = time.time()
    index = c.kv.get('a/one')[0]
    same(c.kv.get('a/one', index=index, wait='1s')[0], index, 'a wait that ends shows the same index')
    ok(time.time() - began >= 1, 'after its time')
    for mode in 'default', 'consistent', 'stale':
        same(c.kv.get('a/one', consistency=mode)[1]['Value'], b'woken', 'consistency %s' % mode)
    same(c.kv.delete('a/one', cas=1), False, 'kv.delete with another cas')
    same(c.kv.delete('a/one'), True, 'kv.delete')
    same(c.kv.delete('a/', recurse=True), True, 'kv.delete recurse')
    same(c.kv.get('a/', recurse=True)[1], None, 'nothing is left')
    same(c.kv.put('empty', ''), True, 'an empty value')
    same(c.kv.get('empty')[1]['Value'], None, 'is null')
    raises(consul.ConsulException, 'a datacenter that is not', c.kv.get, 'x', dc='nowhere')


def session():
    sid = c.session.create()
    ok(len(sid) == 36, 'session.create')
    index, info = c.session.info(sid)
    same((info['ID'], info['Node'], info['Behavior'], info['LockDelay'], info['TTL']), (sid, 'py', 'release', 15 * 10 ** 9, ''), 'session.info')
    same(c.kv.put('lock', 'mine', acquire=sid), True, 'acquire')
    other = c.session.create(name='other', lock_delay=1, behavior='delete', ttl=20)
    same(c.kv.put('lock', 'theirs', acquire=other), False, 'held')
    same(c.kv.get('lock')[1]['Session'], sid, 'the key says by whom')
    same(c.kv.put('lock', 'mine', release=other), False, 'release by another')
    same(c.kv.put('lock', 'free', release=sid), True, 'release')
    same(c.kv.put('lock', 'theirs', acquire=other), True, 'acquire by the other')
    same(sorted(s['ID'] for s in c.session.list()[1]), sorted([sid, other]), 'session.list')
    same(sorted(s['ID'] for s in c.session.node('py')[1]), sorted([sid, other]), 'session.node')
    same(c.session.renew(other)['TTL'], '20s', 'session.renew')
    t = later(c.session.destroy, other)
    index, data = c.kv.get('lock', index=c.kv.get('lock')[0], wait='20s')
    t.join()
    same(data, None, 'its behavior deletes the key, and wakes')
    same(c.session.info(other)[1], None, 'session.info of nothing')
    raises(consul.NotFound, 'session.renew of nothing', c.session.renew, other)
    same(c.session.destroy(sid), True, 'session.destroy')
    raises(consul.ConsulException, 'a session of no node', c.session.create, node='nowhere')
    raises(consul.ConsulException, 'acquire without a session', c.kv.put, 'lock', 'x', acquire='00000000-0000-0000-0000-000000000000')
    same(c.session.list(consistency='stale')[1], [], 'none is left')


def put(path, **params):
    """Calls that the library still makes by GET, which Consul has refused since 1.0."""
    return c.http.put(consul.base.CB.bool(), path, params=params)


def agent():
    me = c.agent.self()
    same((me['Config']['NodeName'], me['Config']['Datacenter'], me['Member']['Name']), ('py', 'dc1', 'py'), 'agent.self')
    same(c.agent.join('%s:%s' % (OTHER, OTHER_SERF)), False, 'agent.join by GET is refused, as Consul does')
    same(put('/v1/agent/join/%s:%s' % (OTHER, OTHER_SERF)), True, 'by PUT it is not')
    wait_for(lambda: sorted(m['Name'] for m in c.agent.members() if m['Status'] == 1) == ['other', 'py'], 'agent.members')
    ok('py.dc1' in [m['Name'] for m in c.agent.members(wan=True)], 'agent.members of the WAN')
    same(c.agent.service.register('web', service_id='web1', address='10.0.0.1', port=80, tags=['a', 'b'],
                                  check=consul.Check.ttl('60s'), enable_tag_override=True), True, 'agent.service.register')
    s = c.agent.services()['web1']
    same((s['Service'], s['Address'], s['Port'], s['Tags'], s['EnableTagOverride']), ('web', '10.0.0.1', 80, ['a', 'b'], True), 'agent.services')
    same(c.agent.service.register('web', service_id='web2', port=81, ttl='60s'), True, 'the old way with a TTL')
    same(c.agent.checks()['service:web1']['Status'], 'critical', 'agent.checks')
    same(put('/v1/agent/check/pass/service:web1', note='fine'), True, 'pass with a note')
    same((c.agent.checks()['service:web1']['Status'], c.agent.checks()['service:web1']['Output']), ('passing', 'fine'), 'is passing')
    for call in c.agent.check.ttl_pass, c.agent.check.ttl_warn, c.agent.check.ttl_fail, c.agent.check.deregister:
        same(call('service:web1'), False, '%s by GET is refused' % call.__name__)
    for name, check in (('http', consul.Check.http('http://%s:%d/v1/status/leader' % (HOST, PORT), '1s', timeout='5s', deregister='90m')),
                        ('tcp', consul.Check.tcp(HOST, PORT, '1s', timeout='5s')), ('ttl', consul.Check.ttl('1h'))):
        same(c.agent.check.register('node ' + name, check=check, check_id='c-' + name, notes='n'), True, 'agent.check.register %s' % name)
    wait_for(lambda: [c.agent.checks()[k]['Status'] for k in ('c-http', 'c-tcp')] == ['passing', 'passing'], 'they pass')
    same(c.agent.check.register('of web2', check=consul.Check.ttl('1h'), service_id='web2', check_id='extra'), True, 'a check of a service')
    same(c.agent.checks()['extra']['ServiceName'], 'web', 'knows it')
    raises(consul.base.BadRequest, 'a script as text is refused', c.agent.check.register, 'old', check=consul.Check.script('true', '1s'))
    same(put('/v1/agent/check/deregister/c-ttl'), True, 'deregister')
    same(c.agent.service.maintenance('web1', 'true', 'upgrade'), True, 'agent.service.maintenance')
    same(c.agent.checks()['_service_maintenance:web1']['Notes'], 'upgrade', 'is a check')
    same(c.agent.service.maintenance('web1', 'false'), True, 'and ends')
    same(c.agent.maintenance('true', 'all'), True, 'agent.maintenance')
    same(c.agent.checks()['_node_maintenance']['Status'], 'critical', 'is a check too')
    same(c.agent.maintenance('false'), True, 'and ends')
    same(c.agent.service.deregister('web2'), False, 'agent.service.deregister by GET is refused')
    same(put('/v1/agent/service/deregister/web2'), True, 'by PUT it is not')
    same(sorted(c.agent.services()), ['web1'], 'one is left')
    same(c.agent.force_leave('other'), False, 'agent.force_leave by GET is refused')


def catalog():
    same(c.catalog.datacenters(), ['dc1'], 'catalog.datacenters')
    wait_for(lambda: 'other' in [n['Node'] for n in c.catalog.nodes()[1]], 'catalog.nodes')
    same(c.catalog.register('ext', '10.9.9.9', service={'service': 'db', 'id': 'db1', 'tags': ['primary'], 'port': 5432},
                            check={'name': 'up', 'status': 'passing', 'service_id': 'db1'}), True, 'catalog.register')
    index, services = c.catalog.services()
    same((services['db'], services['web'], services['consul']), (['primary'], ['a', 'b'], []), 'catalog.services')
    index, db = c.catalog.service('db', tag='primary')
    same([(s['Node'], s['Address'], s['ServiceID'], s['ServicePort']) for s in db], [('ext', '10.9.9.9', 'db1', 5432)], 'catalog.service')
    same(c.catalog.service('db', tag='other')[1], [], 'of another tag')
    same(sorted(c.catalog.node('ext')[1]['Services']), ['db1'], 'catalog.node')
    same(c.catalog.node('nowhere')[1], None, 'catalog.node of nothing')
    # A node sends its coordinate every 15 to 30 s, and the leader writes every 5 s.
    wait_for(lambda: [n['Node'] for n in c.catalog.nodes(near='py')[1]][0] == 'py', 'near, once coordinates are there', 90)
    same(len(c.catalog.nodes(consistency='consistent')[1]), 3, 'consistent')
    t = later(c.catalog.register, 'ext', '10.9.9.9', service={'service': 'db', 'id': 'db2', 'port': 5433})
    db = c.catalog.service('db', index=c.catalog.service('db')[0], wait='20s')[1]
    t.join()
    same(sorted(s['ServiceID'] for s in db), ['db1', 'db2'], 'a blocking catalog.service')
    same(c.catalog.deregister('ext', service_id='db2'), True, 'catalog.deregister')
    same(c.catalog.deregister('ext', check_id='up'), True, 'of a check')
    same(c.health.node('ext')[1], [], 'is gone')


def health():
    index, nodes = c.health.service('web', passing=True, tag='a', near='_agent')
    same([(n['Node']['Node'], n['Service']['ID'], sorted(k['CheckID'] for k in n['Checks'] if k['ServiceID'])) for n in nodes],
         [('py', 'web1', ['service:web1'])], 'health.service')
    same([k['CheckID'] for k in c.health.checks('web')[1]], ['service:web1'], 'health.checks')
    ok('serfHealth' in [k['CheckID'] for k in c.health.node('py')[1]], 'health.node')
    ok('service:web1' in [k['CheckID'] for k in c.health.state('passing')[1]], 'health.state')
    same(c.health.state('critical', near='py')[1], [k for k in c.health.state('any')[1] if k['Status'] == 'critical'], 'critical and any')
    t = later(put, '/v1/agent/check/fail/service:web1')
    nodes = c.health.service('web', passing=True, index=index, wait='20s')[1]
    t.join()
    same(nodes, [], 'a blocking health.service')
    same(c.catalog.deregister('ext'), True, 'the node is taken out')


def event():
    index = c.event.list()[0]
    e = c.event.fire('deploy', 'v1', node='p.*', service='web', tag='a')
    same((e['Name'], base64.b64decode(e['Payload']), e['NodeFilter'], e['ServiceFilter'], e['TagFilter']),
         ('deploy', b'v1', 'p.*', 'web', 'a'), 'event.fire')
    index, events = c.event.list(name='deploy', index=index, wait='20s')
    wait_for(lambda: e['ID'] in [x['ID'] for x in c.event.list(name='deploy')[1]], 'event.list')
    same(c.event.list(name='other')[1], [], 'of another name')


def query():
    q = c.query.create('web', name='q', onlypassing=False, tags=['a'], ttl='10s', nearestn=2, datacenters=['dc9'])['ID']
    ok(len(q) == 36, 'query.create')
    got = c.query.get(q)
    same((got[0]['Name'], got[0]['Service']['Service'], got[0]['Service']['Failover']['NearestN'], got[0]['DNS']['TTL']),
         ('q', 'web', 2, '10s'), 'query.get')
    same([x['ID'] for x in c.query.list()], [q], 'query.list')
    put('/v1/agent/check/pass/service:web1')
    wait_for(lambda: [n['Service']['ID'] for n in c.query.execute('q')['Nodes']] == ['web1'], 'query.execute')
    # The library makes a template of every query: those have no answer by their IDs.
    same(c.query.execute('q-more', near='_agent', limit=1)['Service'], 'web', 'by what begins with its name')
    raises(consul.ConsulException, 'not by its ID', c.query.execute, q)
    same(c.query.update(q, service='web', name='q2', regexp=None), True, 'query.update')
    same(c.query.get(q)[0]['Name'], 'q2', 'has a new name')
    same(c.query.explain('q2-x')['Query']['Name'], 'q2', 'query.explain')
    same(c.query.delete(q), True, 'query.delete')
    same(c.query.list(), [], 'none is left')


def acl():
    # The library knows the tokens of before Consul 1.4 alone. With ACLs off all of these are 401.
    for name, call in (('list', lambda: c.acl.list()), ('info', lambda: c.acl.info('x')), ('create', lambda: c.acl.create(name='x')),
                       ('update', lambda: c.acl.update('x', name='y')), ('clone', lambda: c.acl.clone('x')), ('destroy', lambda: c.acl.destroy('x'))):
        raises(consul.ACLDisabled, 'acl.%s' % name, call)


def rest():
    same([d['Datacenter'] for d in c.coordinate.datacenters()], ['dc1'], 'coordinate.datacenters')
    wait_for(lambda: c.coordinate.nodes()[1] is not None and 'py' in [n['Node'] for n in c.coordinate.nodes()[1]], 'coordinate.nodes')
    same(len(c.coordinate.nodes()[1][0]['Coord']['Vec']), 8, 'in eight dimensions')
    raft = c.operator.raft_config()
    same([(s['Node'], s['Leader'], s['Voter']) for s in raft['Servers']], [('py', True, True)], 'operator.raft_config')


def asynchronous():
    """The library's asynchronous client that still works: consul.aio needs asyncio.coroutine, which Python 3.11 has lost."""
    global count
    try:
        import consul.tornado
        from tornado import gen, ioloop
    except ImportError as e:
        count += 1
        print('ok %d # skip python3-tornado is not installed: %s' % (count, e), flush=True)
        return

    @gen.coroutine
    def both():
        a = consul.tornado.Consul(host=HOST, port=PORT)
        same((yield a.kv.put('tornado', 'x')), True, 'kv.put')
        index, data = yield a.kv.get('tornado')
        t = later(c.kv.put, 'tornado', 'y')
        woken, services = yield [a.kv.get('tornado', index=index, wait='20s'), a.catalog.services()]
        t.join()
        same(woken[1]['Value'], b'y', 'a blocking get')
        ok('consul' in services[1], 'and another call beside it', services)

    ioloop.IOLoop.current().run_sync(both)


for part in status, kv, session, agent, catalog, health, event, query, acl, rest, asynchronous:
    print('# %s' % part.__name__, flush=True)
    try:
        part()
    except Exception as e:      # a part that dies fails; the others still run
        ok(False, '%s runs to its end' % part.__name__, e)
print('1..%d' % count)
sys.exit(1 if failed else 0)
