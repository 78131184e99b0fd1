// Walks the sandbox with the vendor's own client and prints one JSON object; every failure ends the process with a stack.
// Arguments: base URL, key, organization id.
"use strict";
const { createApiClient } = require("@neondatabase/api-client");

const [baseURL, apiKey, orgId] = process.argv.slice(2);
const client = createApiClient({ apiKey, baseURL, proxy: false });
const METRICS = [
  "compute_unit_seconds",
  "root_branch_bytes_month",
  "child_branch_bytes_month",
  "instant_restore_bytes_month",
  "public_network_transfer_bytes",
  "private_network_transfer_bytes",
  "extra_branches_month",
  "snapshot_storage_bytes_month",
];
const WINDOW = { from: "2026-11-09T00:00:00Z", to: "2026-11-14T00:00:00Z", granularity: "hourly", org_id: orgId };

async function listed() {
  const ids = [];
  let cursor;
  for (;;) {
    const { data } = await client.listProjects({ org_id: orgId, limit: 7, cursor });
    if (data.projects.length === 0) return ids;
    ids.push(...data.projects.map((project) => project.id));
    cursor = data.pagination.cursor;
  }
}

async function used() {
  const sums = {};
  let cursor;
  do {
    const query = { ...WINDOW, metrics: METRICS, limit: 7, cursor };
    const { data } = await client.getConsumptionHistoryPerProjectV2(query);
    for (const project of data.projects)
      for (const period of project.periods)
        for (const timeframe of period.consumption)
          for (const metric of timeframe.metrics) {
            const key = `${project.project_id}/${metric.metric_name}`;
            sums[key] = (sums[key] || 0) + metric.value;
          }
    cursor = data.pagination && data.pagination.cursor;
  } while (cursor);
  return sums;
}

async function status(call) {
  try {
    return (await call()).status;
  } catch (error) {
    return [error.response.status, error.response.data.message];
  }
}

async function main() {
  const ids = await listed();
  const { data: one } = await client.getProject(ids[0]);
  const quota = { compute_time_seconds: 36000 };
  const { data: patched } = await client.updateProject(ids[0], { project: { settings: { quota } } });
  const { data: branches } = await client.listProjectBranches({ projectId: ids[0], limit: 100 });
  const { data: perBranch } = await client.getConsumptionHistoryPerBranchV2({
    ...WINDOW,
    metrics: METRICS.slice(0, 6),
    project_ids: ids.slice(0, 3),
  });
  const { data: organizations } = await client.getCurrentUserOrganizations();
  const { data: organization } = await client.getOrganization(orgId);
  const { data: auth } = await client.getAuthDetails();
  const unknown = { ...WINDOW, metrics: ["no_such_metric"] };
  const unknownMetric = await status(() => client.getConsumptionHistoryPerProjectV2(unknown));
  const legacy = await status(() => client.getConsumptionHistoryPerProject(WINDOW));
  const deleted = await status(() => client.deleteProject(ids[1]));
  const { data: recoverable } = await client.listProjects({ org_id: orgId, recoverable: true, limit: 400 });
  console.log(
    JSON.stringify({
      ids,
      used: await used(),
      period: one.project.consumption_period_start,
      quota: patched.project.settings.quota,
      branches: branches.branches.length,
      perBranch: perBranch.branches.length,
      organizations: organizations.organizations.map((each) => each.id),
      organization: organization.id,
      auth: auth.auth_method,
      unknownMetric,
      legacy,
      deleted,
      recoverable: recoverable.projects.map((project) => project.id),
    }),
  );
}

main();
