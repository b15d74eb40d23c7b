import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertRejects, long, newMessage, type Scene, topicsOf, watch } from '../scene.ts'
import { newTopic } from '../topic-scene.ts'

/** Every member that works on one topic, and, if it is named, on one of its subscriptions. */
function topicCalls(scene: Scene, topic: string, engine = scene.engine) {
  const store = topicsOf(engine)
  return {
    listTopics: () => store.listTopics(topic),
    'link to a pattern': () => engine.bind({ topic, pattern: 'case.lifecycle.#' }),
    'link to a queue': () => engine.bind({ topic, queue: scene.queue }),
    'unlink from a pattern': () => engine.unbind({ topic, pattern: 'case.lifecycle.#' }),
    'unlink from a queue': () => engine.unbind({ topic, queue: scene.queue }),
    append: () => store.append(topic, [newMessage({})], null),
    read: () => store.read(topic, 0, 1),
    subscribe: () => store.subscribe(topic, 's', 'earliest'),
    subscriptions: () => store.subscriptions(topic, null),
    'seek by all': () => store.seek(topic, null, 'latest'),
    'planSeek by all': () => store.planSeek(topic, null, 'latest'),
    listen: () => watch(engine, `topic:${topic}`),
    ...subscriptionCalls(scene, topic, 's', engine),
    unsubscribe: () => store.unsubscribe(topic, 's'),
  }
}

function subscriptionCalls(scene: Scene, topic: string, subscription: string, engine = scene.engine) {
  const store = topicsOf(engine)
  return {
    'subscriptions, one of them': () => store.subscriptions(topic, subscription),
    hold: () => store.hold(topic, subscription, 'me', long),
    ack: () => store.ack(topic, subscription, 1, null),
    'ack with a receipt': () => store.ack(topic, subscription, 1, 'none'),
    leave: () => store.leave(topic, subscription, 'none'),
    seek: () => store.seek(topic, subscription, { offset: 1 }),
    planSeek: () => store.planSeek(topic, subscription, { offset: 1 }),
  }
}

export const topicLifecycle = group(
  'topic lifecycle',
  {
    'every operation on a topic that never was': async (scene) => {
      const missing = scene.newTopicName()
      for (const [name, call] of Object.entries(topicCalls(scene, missing)))
        await assertRejects(call(), 'TOPIC_NOT_FOUND', name)
      assert.equal(await topicsOf(scene.engine).dropTopic(missing), false)
    },

    'every operation on a topic that was dropped': async (scene) => {
      const topic = await newTopic(scene)
      // An engine's memory of the topic must not outlive the topic.
      for (const call of Object.values(topicCalls(scene, topic.name))) await call()
      await topic.store.dropTopic(topic.name)
      for (const [name, call] of Object.entries(topicCalls(scene, topic.name)))
        await assertRejects(call(), 'TOPIC_NOT_FOUND', name)
    },

    'every operation on a subscription that is missing': async (scene) => {
      const topic = await newTopic(scene)
      await topic.subscribe('earliest', 'other')
      for (const [name, call] of Object.entries(subscriptionCalls(scene, topic.name, 'missing')))
        await assertRejects(call(), 'SUBSCRIPTION_NOT_FOUND', name)
      assert.equal(await topic.store.unsubscribe(topic.name, 'missing'), false)
      await topic.subscribe()
      await topic.store.unsubscribe(topic.name, 's')
      for (const [name, call] of Object.entries(subscriptionCalls(scene, topic.name, 's')))
        await assertRejects(call(), 'SUBSCRIPTION_NOT_FOUND', name)
    },

    'every operation after the engine was closed': async (scene) => {
      const topic = await newTopic(scene)
      const { store } = topic
      await topic.subscribe()
      await scene.engine.close()
      const calls = {
        ...topicCalls(scene, topic.name),
        createTopic: () => store.createTopic(topic.name, {}),
        dropTopic: () => store.dropTopic(topic.name),
        'all topics': () => store.listTopics(null),
      }
      for (const [name, call] of Object.entries(calls)) await assertRejects(call(), 'CLOSED', name)
    },
  },
  { needs: ['topics'] },
)
