-- Health of the objects of multiactive.dev for Argo CD: docs/guides/argocd.md says where it goes. One script serves all
-- kinds: Ready is their word, Complete that of orders. What lacks both is only written, and is well when it is there.
local hs = {status = "Progressing", message = "the operator has not looked at it yet"}
local status = obj.status or {}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "it is being deleted"
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  hs.message = "the operator has not looked at the latest change yet"
  return hs
end
for _, c in ipairs(status.conditions or {}) do
  if c.type == "Complete" then
    hs.message = c.message
    if c.status == "True" then
      hs.status = status.state == "Succeeded" and "Healthy" or "Degraded"
    end
    return hs
  end
  if c.type == "Ready" then
    hs.message = c.reason .. ": " .. (c.message or "")
    if obj.metadata.deletionTimestamp ~= nil then
      return hs
    end
    if c.status == "True" then
      hs.status = "Healthy"
    elseif c.status == "False" and c.reason ~= "Progressing" and c.reason ~= "NotYetObserved" and c.reason ~= "SurvivorsScaling" then
      hs.status = "Degraded"
    end
    return hs
  end
end
return hs
